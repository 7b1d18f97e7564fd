// The sliders of a model and what stands below them. A moving slider asks for drafts, one that was let
// go is a step. Only one draft is under way at a time, and only the newest strengths that had to wait
// are sent, so the picture never lags behind the hand.

import { $, $$, act, busy, done, fetchFile, page, post, say } from "./page.js";
import { photo } from "./photo.js";

const SEARCHED_FROM = 20; // sliders
const OPEN_UNTIL = 16; // sliders in groups that start open
const QUIET = 500; // ms without a step, then small pictures are drawn
const HINTS = {
  live: "Drag a slider; \u21ba sets it back.",
  preview: "A quick picture follows while you drag, the finished one when you let go.",
  release: "This model takes a while here: the picture follows when you let go.",
};
const NOTHING = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"; // a picture of one clear pixel
let rows = new Map(); // name -> {slider, number, reset, spec, box, image}
let layout = "";
let pending = new Map(); // name -> strength of sliders that wait
let settling = false; // one of them was let go
let underway = false;
let holding = ""; // the slider under the hand
let pictures = new Map(); // face and direction -> data URL
let quietFrom = 0;
let ready = false; // a face is in hand
let lastLook = null;

export const panel = { start, show, prepare };

// ---- sliders

async function pump() {
  if (underway || !pending.size) return;
  const edits = Object.fromEntries(pending);
  const final = settling;
  pending = new Map();
  settling = false;
  underway = true;
  quietFrom = Date.now() + QUIET;
  try {
    if (final) {
      await act("move", { edits });
    } else if (page.state.pace !== "release") {
      busy();
      try {
        const message = await post("draft", { edits });
        if (message.sentence) say(message.sentence);
        photo.draft(message);
        setPace(message.pace);
        $(".sfe-viewer").dataset.number = message.number;
        document.dispatchEvent(new CustomEvent("sfe:drawn", { detail: message }));
      } catch (error) {
        say(error.sentence, error.again ? () => settle(edits) : null);
        document.dispatchEvent(new CustomEvent("sfe:drawn", { detail: {} }));
      } finally {
        done();
      }
    }
  } finally {
    underway = false;
    pump();
  }
}
function settle(edits) {
  for (const [name, strength] of Object.entries(edits)) pending.set(name, strength);
  settling = true;
  pump();
}

function setPace(pace) {
  if (!pace) return;
  page.state.pace = pace;
  hint();
}
function hint() {
  const words = ready ? HINTS[page.state.pace] : "";
  $(".sfe-hint").textContent = rows.size ? words || "" : "This model knows no edits.";
}

function mark(row, varied = false) {
  const value = Number(row.slider.value);
  const { low, high } = row.spec;
  const part = (number) => (number - low) / (high - low);
  row.slider.style.setProperty("--zero", part(0));
  row.slider.style.setProperty("--from", Math.min(part(0), part(value)));
  row.slider.style.setProperty("--to", Math.max(part(0), part(value)));
  row.reset.disabled = !value && !varied;
  row.box.classList.toggle("sfe-moved", Boolean(value) || varied);
}
function set(row, value, varied = false) {
  row.slider.value = value;
  row.number.value = varied ? "" : String(Number(Number(value).toFixed(2)));
  row.number.placeholder = varied ? "mixed" : "";
  mark(row, varied);
}

function node(tag, values = {}, ...children) {
  const made = Object.assign(document.createElement(tag), values);
  made.append(...children);
  return made;
}

function build(spec) {
  const range = { min: spec.low, max: spec.high, step: spec.step };
  const label = node("label", { textContent: spec.label, htmlFor: "sfe-" + spec.name });
  const slider = node("input", { type: "range", id: "sfe-" + spec.name, ...range, value: 0 });
  const number = node("input", { type: "number", ...range });
  number.setAttribute("aria-label", `${spec.label}, strength`);
  const reset = node("button", { type: "button", className: "sfe-reset", title: "Set back", textContent: "\u21ba" });
  reset.setAttribute("aria-label", `Reset ${spec.label}`);
  const image = node("img", { className: "sfe-picture", alt: "", src: NOTHING });
  const box = node("div", { className: "sfe-row", title: spec.help }, image, label, number, reset, slider);
  const row = { slider, number, reset, spec, box, image };
  slider.addEventListener("input", () => {
    holding = spec.name;
    set(row, slider.value);
    pending.set(spec.name, Number(slider.value));
    pump();
  });
  const let_go = (value) => {
    holding = "";
    set(row, value);
    $("#sfe-strip-of").value = spec.name;
    settle({ [spec.name]: Number(value) });
  };
  slider.addEventListener("change", () => let_go(slider.value));
  number.addEventListener("change", () => let_go(Math.min(spec.high, Math.max(spec.low, Number(number.value) || 0))));
  reset.addEventListener("click", () => let_go(0));
  slider.addEventListener("dblclick", () => let_go(0));
  rows.set(spec.name, row);
  return box;
}

function lay(groups) {
  rows = new Map();
  const all = groups.flatMap((group) => group.sliders);
  $(".sfe-search").hidden = all.length <= SEARCHED_FROM;
  const lists = groups.map((group, index) => {
    const list = node("div", { className: "sfe-rows" }, ...group.sliders.map(build));
    const open = all.length <= OPEN_UNTIL || index < 2;
    return node("details", { open }, node("summary", { textContent: group.title }), list);
  });
  $(".sfe-sliders").replaceChildren(...lists);
  $("#sfe-strip-of").replaceChildren(...all.map((spec) => new Option(spec.label, spec.name)));
}

function search() {
  const words = $(".sfe-search").value.trim().toLowerCase();
  for (const details of $$(".sfe-sliders details")) {
    for (const box of details.querySelectorAll(".sfe-row")) {
      const text = box.textContent + " " + box.title;
      box.hidden = words !== "" && !text.toLowerCase().includes(words);
    }
    details.hidden = !details.querySelector(".sfe-row:not([hidden])");
    if (words) details.open = true;
  }
}

// ---- small pictures of what directions do, drawn while nothing else is to be done

async function prepare() {
  if (!page.state.photos.length || !(photo.faces?.length || page.state.photo?.cropped)) return;
  const answer = await post("prepare").catch(() => ({}));
  setPace(answer.pace);
}
const pictureKey = (name) => [photo.key, page.state.face, name].join("|");

async function drawPictures() {
  const rest = page.state.pace === "live" ? QUIET : 4 * QUIET;
  const can = page.state.photos.length && photo.faces?.length && page.state.pace !== "release";
  if (!can || page.waiting || Date.now() < quietFrom || document.hidden) return setTimeout(drawPictures, rest);
  const inView = ({ box }) => box.offsetParent && box.getBoundingClientRect().top < innerHeight + 200;
  const row = [...rows.values()].find((one) => inView(one) && !pictures.has(pictureKey(one.spec.name)));
  if (row) {
    const key = pictureKey(row.spec.name);
    if (pictures.size > 1000) pictures.clear();
    const answer = await post("picture", { name: row.spec.name }).catch(() => null);
    if (!answer) return setTimeout(drawPictures, 4 * rest);
    pictures.set(key, answer.picture || "");
    showPictures();
  }
  setTimeout(drawPictures, row ? 30 : rest);
}
function showPictures() {
  for (const [name, row] of rows) {
    const url = pictures.get(pictureKey(name));
    row.image.src = url || NOTHING;
    row.image.classList.toggle("sfe-there", Boolean(url));
  }
}

// ---- faces, looks, steps

function showFaces(state) {
  const count = photo.faces?.length || 0;
  $(".sfe-faces").hidden = count < 2;
  if (count < 2) return;
  const chip = (face, text, url) => {
    const button = node("button", { type: "button", className: "sfe-chip" });
    if (url) button.append(node("img", { src: url, alt: "" }));
    button.append(text);
    button.setAttribute("aria-pressed", String(state.face === face));
    button.addEventListener("click", () => act("face", { face }));
    return button;
  };
  const faces = Array.from({ length: count }, (_, index) => chip(index + 1, String(index + 1), photo.pictures?.[index]));
  $(".sfe-faces").replaceChildren(...faces, chip("all", "All faces"));
}

const asText = (edits) => Object.entries(edits).map(([name, by]) => `${name}=${Number(by.toFixed(2))}`).join(", ");
function fromText(text) {
  const names = new Map([...rows.keys()].map((name) => [name.toLowerCase(), name]));
  const edits = {};
  const unknown = [];
  for (const [, name, by] of text.matchAll(/([\w-]+)\s*=\s*([-+]?\d*\.?\d+)/g)) {
    const known = names.get(name.toLowerCase());
    if (known) edits[known] = Number(by);
    else unknown.push(name);
  }
  return { edits, unknown };
}
async function applyText(text) {
  const { edits, unknown } = fromText(text);
  const sentence = unknown.length ? `this model knows no edit called ${unknown.join(", ")}` : "write edits as name=strength";
  if (text.trim() && !Object.keys(edits).length) return say(sentence);
  if ((await act("edits", { edits })) && unknown.length) say(sentence);
}
const looks = () => JSON.parse(localStorage.sfeLooks || "[]");
function keepLooks(list) {
  localStorage.sfeLooks = JSON.stringify(list);
  showLooks();
}
function showLooks() {
  const items = looks().map((look, index) => {
    const use = node("button", { type: "button", className: "sfe-chip", textContent: look.name, title: look.text });
    use.addEventListener("click", () => applyText(look.text));
    const drop = node("button", { type: "button", className: "sfe-icon", textContent: "\u00d7" });
    drop.setAttribute("aria-label", `Remove ${look.name}`);
    drop.addEventListener("click", () => keepLooks(looks().filter((_, other) => other !== index)));
    return node("li", {}, use, drop);
  });
  $(".sfe-looks").replaceChildren(...items);
}

function showSteps(state) {
  const names = ["The photo as it came", ...(state.steps || [])];
  const items = names.map((name, index) => {
    const button = node("button", { type: "button", textContent: name });
    button.setAttribute("aria-current", String(index === state.step));
    button.addEventListener("click", () => index !== state.step && act("go", { steps: index - state.step }));
    return node("li", { className: index > state.step ? "sfe-later" : "" }, button);
  });
  $(".sfe-history").replaceChildren(...items);
}

function showModels(state) {
  const select = $("#sfe-model");
  select.replaceChildren(...(state.models || []).map(([name, label]) => new Option(label, name)));
  select.value = state.model;
  const offers = Object.entries(state.offers || {}).map(([name, terms]) => {
    const button = node("button", { type: "button", className: "sfe-button", textContent: `Download ${name}` });
    const item = node("li", {}, node("p", { className: "sfe-fine", textContent: `${name}, published: ${terms}` }), button);
    button.addEventListener("click", () => pull(name, button));
    return item;
  });
  if (!$(".sfe-offers [disabled]")) $(".sfe-offers").replaceChildren(...offers);
}
async function pull(name, button) {
  button.disabled = true;
  const answer = await post("pull", { name }).catch((error) => error);
  if (answer.sentence || answer.ready) {
    button.disabled = false;
    if (answer.ready) act("show");
    else say(answer.sentence);
    return;
  }
  const of = answer.total ? ` of ${Math.round(answer.total / 1e6)}` : "";
  button.textContent = `${answer.file} ${Math.round(answer.done / 1e6)}${of} MB`;
  setTimeout(() => pull(name, button), 1000);
}

// ---- mixing: an attribute moves its slider, all else is a picture

let mixKey = "";
function showMix(state) {
  const others = state.photos.filter((one) => one.number !== photo.number);
  const key = [photo.number, ...others.map((one) => one.number), layout].join("|");
  if (key === mixKey) return;
  mixKey = key;
  $("#sfe-mix-with").replaceChildren(...others.map((one) => new Option(one.name, one.number)));
  for (const option of $$("#sfe-mix-take .sfe-like")) option.remove();
  const likes = [...rows.values()].map(({ spec }) => node("option", { className: "sfe-like", value: spec.name, textContent: `As much “${spec.label}”` }));
  $("#sfe-mix-take").append(...likes);
  showMixed({});
}
function showMixed({ picture, command }) {
  $(".sfe-mixed").replaceChildren(...(picture ? [node("img", { src: picture, alt: "The mixed picture" })] : []));
  $(".sfe-mix-command").textContent = command || "";
  $(".sfe-mix-save").hidden = !picture;
}
const mixSent = () => ({ photo: Number($("#sfe-mix-with").value), take: $("#sfe-mix-take").value });
async function mix() {
  const { photo: other, take } = mixSent();
  if (rows.has(take)) {
    showMixed({});
    return act("like", { photo: other, name: take }, "Comparing");
  }
  busy("Mixing");
  const answer = await post("mix", mixSent()).catch((error) => error);
  done();
  showMixed(answer);
  if (answer.sentence) say(answer.sentence, answer.again ? mix : null);
}

// ---- the state of the page

function show(state) {
  quietFrom = Date.now() + QUIET;
  const key = JSON.stringify(state.groups || []);
  if (key !== layout) {
    lay(state.groups || []);
    pictures.clear();
  }
  layout = key;
  const edits = state.edits || {};
  ready = state.photos.length > 0 && ((photo.faces || []).length > 0 || state.photo?.cropped || state.photo?.aligned);
  for (const [name, row] of rows) {
    row.slider.disabled = row.number.disabled = !ready;
    if (holding === name || pending.has(name)) continue; // the hand knows better
    set(row, edits[name] ?? 0, (state.varied || []).includes(name));
    if (!ready) row.reset.disabled = true;
  }
  const edited = Object.keys(edits).length > 0;
  if (edited) lastLook = { edits, number: photo.number };
  $("#sfe-last-look").hidden = edited || !ready || !lastLook || lastLook.number === photo.number || state.step > 0;
  $("#sfe-reset-all").disabled = !edited && !state.varied?.length;
  $("#sfe-show-strip").disabled = !ready;
  if (document.activeElement !== $(".sfe-look-text")) $(".sfe-look-text").value = asText(edits);
  for (const input of $$("#sfe-mask input")) input.checked = input.value === (state.mask || "none");
  for (const input of $$("#sfe-blend input")) input.checked = input.value === (state.blend || "");
  $("#sfe-command").value = state.command || "Move a slider first.";
  $("#sfe-python").value = state.python || "Move a slider first.";
  $(".sfe-missing").hidden = !state.missing;
  $(".sfe-missing").textContent = `${state.missing} more edits need files that are not on this machine.`;
  hint();
  showFaces(state);
  showMix(state);
  showSteps(state);
  showModels(state);
  showPictures();
}

function start() {
  $(".sfe-search").addEventListener("input", search);
  $("#sfe-reset-all").addEventListener("click", () => act("edits", { edits: {} }));
  $("#sfe-last-look").addEventListener("click", () => act("edits", { edits: lastLook.edits }));
  for (const name of ["mask", "blend"]) {
    $("#sfe-" + name).addEventListener("change", (event) => act(name, { [name]: event.target.value }));
  }
  $("#sfe-model").addEventListener("change", async () => {
    await act("model", { model: $("#sfe-model").value }, "Reading the model");
    prepare();
  });
  $("#sfe-show-strip").addEventListener("click", async () => {
    busy();
    const answer = await post("strip", { name: $("#sfe-strip-of").value }).catch((error) => error);
    done();
    if (answer.picture) $("#sfe-end-to-end").replaceChildren(node("img", { src: answer.picture, alt: "The face with several strengths" }));
    else say(answer.sentence);
  });
  $(".sfe-mix-show").addEventListener("click", mix);
  $(".sfe-mix-save").addEventListener("click", () => fetchFile({ kind: "mix", ...mixSent() }, "Mixing"));
  for (const id of ["with", "take"]) $("#sfe-mix-" + id).addEventListener("change", () => showMixed({}));
  $(".sfe-look-apply").addEventListener("click", () => applyText($(".sfe-look-text").value));
  $(".sfe-look-copy").addEventListener("click", async () => {
    await navigator.clipboard?.writeText($(".sfe-look-text").value);
    $(".sfe-look-copy").textContent = "Copied";
    setTimeout(() => ($(".sfe-look-copy").textContent = "Copy"), 1500);
  });
  $(".sfe-look-keep").addEventListener("click", () => {
    const text = $(".sfe-look-text").value;
    if (!Object.keys(fromText(text).edits).length) return say("move a slider first: then there is a look to keep");
    const name = prompt("Name of this look", text.slice(0, 30));
    if (name) keepLooks([...looks(), { name, text }]);
  });
  showLooks();
  drawPictures();
}
