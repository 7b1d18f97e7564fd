// The page as a whole: talking to the program, opening and saving files, the film strip. Python
// answers every step with the whole state (view.py). Text from outside is only ever textContent.

import { photo } from "./photo.js";
import { panel } from "./panel.js";
import { film as clip } from "./film.js";

export const $ = (selector) => document.querySelector(selector);
export const $$ = (selector) => Array.from(document.querySelectorAll(selector));
const limits = JSON.parse(document.body.dataset.limits);
const HEX = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
const visitor = (sessionStorage.sfeVisitor ||= HEX(crypto.getRandomValues(new Uint8Array(16))));
const PATIENCE = 600000; // ms until an answer that never came is given up
const STOPPED = "The program behind this page does not answer. If it was stopped, start it again with “sfe app”; then try again.";
const GONE = "Your photos are no longer in the program's memory, because it was started anew or others needed the room: open them again.";
const FORM_NOTES = {
  jpeg: "Small, opens everywhere.",
  png: "Every pixel exact; large, and slow for large photos.",
  webp: "Smaller than JPEG at the same quality; for the web.",
};

export const page = { state: { photos: [] }, waiting: 0 };
let shown = 0; // number of the newest answer

// ---- talking

export async function post(what, sent = {}, body = null) {
  const query = body ? "?" + new URLSearchParams(sent) : "";
  let answer;
  try {
    answer = await fetch(what + query, {
      method: "POST",
      headers: { "x-visitor": visitor },
      body: body || JSON.stringify(sent),
      signal: AbortSignal.timeout(PATIENCE),
    });
  } catch {
    throw { sentence: STOPPED, again: true };
  }
  if ((answer.headers.get("content-type") || "").startsWith("application/json")) {
    const message = await answer.json();
    if (!answer.ok) throw message;
    return message;
  }
  if (!answer.ok) throw { sentence: STOPPED, again: true };
  return { name: decodeURIComponent(answer.headers.get("x-name")), blob: await answer.blob() };
}

export function say(sentence, again = null) {
  const isName = /^\S+\.\w+[ :]/.test(sentence); // a file's name keeps its letters
  const words = isName ? sentence : sentence.charAt(0).toUpperCase() + sentence.slice(1);
  $(".sfe-sentence span").textContent = /[.!?:]$/.test(words) || !words ? words : words + ".";
  $(".sfe-sentence").hidden = !sentence;
  $(".sfe-again").hidden = !again;
  $(".sfe-again").onclick = again;
}
$(".sfe-dismiss").addEventListener("click", () => say(""));

let since = 0;
let doing = "";
export function busy(words = "Drawing") {
  page.waiting += 1;
  since ||= Date.now();
  doing = words;
  tell();
  $(".sfe-busy").hidden = false;
  $(".sfe-viewer").setAttribute("aria-busy", "true");
}
export function done() {
  page.waiting = Math.max(0, page.waiting - 1);
  if (page.waiting) return;
  since = 0;
  $(".sfe-busy").hidden = true;
  $(".sfe-viewer").setAttribute("aria-busy", "false");
}
function tell() {
  const seconds = Math.round((Date.now() - since) / 1000);
  $(".sfe-busy").textContent = seconds > 1 ? `${doing}: ${seconds} s` : `${doing}\u2026`;
}
setInterval(() => since && tell(), 500);

// One step: show what comes of it, or say why not and offer to try again.
export async function step(what, sent, { body = null, words } = {}) {
  busy(words);
  try {
    const message = await post(what, { ...sent, known: known() }, body);
    show(message);
    return !message.sentence;
  } catch (error) {
    say(error.sentence || STOPPED, error.again ? () => step(what, sent, { body, words }) : null);
    document.dispatchEvent(new CustomEvent("sfe:drawn", { detail: {} }));
    return false;
  } finally {
    done();
  }
}
export const act = (name, sent = {}, words) => step("do", { act: name, ...sent }, { words });

function known() {
  return [photo.key, ...page.state.photos.map((one) => one.key)].join("|");
}

// ---- showing

export function show(message) {
  if (message.number < shown) return;
  shown = message.number;
  const before = page.state;
  const state = message.photos ? message : { ...before, ...message };
  if (before.photos.length && !state.photos.length && !message.sentence) say(GONE);
  else say(message.sentence || "");
  for (const one of state.photos) one.small ||= before.photos.find((old) => old.key === one.key)?.small;
  state.offers ||= before.offers;
  page.state = state;
  document.body.classList.toggle("sfe-empty", !state.photos.length);
  for (const node of $$(".sfe-several")) node.hidden = state.photos.length < 2;
  photo.show(state);
  panel.show(state);
  clip.show(state);
  film(state);
  const ready = state.photos.length > 0;
  for (const id of ["save-photo", "download-options", "save-session", "original"]) $("#sfe-" + id).disabled = !ready;
  $("#sfe-undo").disabled = !state.step;
  $("#sfe-redo").disabled = !(state.steps && state.step < state.steps.length);
  $(".sfe-viewer").dataset.number = message.number;
  document.dispatchEvent(new CustomEvent("sfe:drawn", { detail: message }));
}

function film(state) {
  const tiles = state.photos.map((one) => {
    const tile = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.title = one.name;
    button.setAttribute("aria-label", one.name + (one.edited ? ", edited" : ""));
    button.setAttribute("aria-current", String(one.number === photo.number));
    button.classList.toggle("sfe-edited", one.edited);
    button.classList.toggle("sfe-moves", one.film);
    button.addEventListener("click", () => one.number !== photo.number && select(one.number));
    const image = document.createElement("img");
    image.src = one.small || "";
    image.alt = "";
    button.append(image);
    const close = document.createElement("button");
    close.type = "button";
    close.className = "sfe-close";
    close.textContent = "\u00d7";
    close.setAttribute("aria-label", `Close ${one.name}`);
    close.addEventListener("click", () => shut(one));
    tile.append(button, close);
    return tile;
  });
  const strip = $(".sfe-film");
  strip.replaceChildren(...tiles, ...arriving);
  const chosen = tiles.find((_, index) => state.photos[index].number === photo.number);
  if (chosen) strip.scrollLeft = chosen.offsetLeft - strip.clientWidth / 2;
}

async function select(number) {
  await act("select", { photo: number }, "Opening");
  panel.prepare();
}

async function shut(one) {
  if (one.edited && !confirm(`Close ${one.name}? What you did to it is lost unless it is saved.`)) return;
  page.state.photos = page.state.photos.filter((other) => other !== one);
  await act("close", { photo: one.number }, "Closing");
}

// ---- opening: a photo that comes alone is taken in hand; of several, the first

let arriving = []; // tiles of files on their way
export async function openFiles(files) {
  files = Array.from(files || []);
  const tiles = files.map((file) => {
    const tile = document.createElement("li");
    tile.className = "sfe-arriving";
    const image = document.createElement("img");
    image.alt = "";
    if (file.type.startsWith("image/")) image.src = URL.createObjectURL(file);
    image.addEventListener("load", () => URL.revokeObjectURL(image.src));
    image.addEventListener("error", () => (URL.revokeObjectURL(image.src), image.remove()));
    tile.append(image);
    return tile;
  });
  arriving.push(...tiles);
  if (!page.state.photos.length && files.length) photo.expect(files[0]);
  film(page.state);
  const refused = [];
  for (const [index, file] of files.entries()) {
    const which = files.length > 1 ? `Opening ${index + 1} of ${files.length}` : "Finding the face";
    const first = !page.state.photos.length;
    if (file.size > limits.bytes) {
      refused.push(`${file.name} has ${Math.round(file.size / 1e6)} MB, more than the limit of ${Math.round(limits.bytes / 1e6)} MB: make it smaller first`);
    } else {
      const sent = { name: file.name, aligned: Number($("#sfe-aligned").checked), take: Number(files.length === 1) };
      const opened = await step("open", sent, { body: file, words: which });
      if (!opened && !$(".sfe-again").hidden) {
        arriving = arriving.filter((tile) => !tiles.includes(tile)); // the program is gone or full
        $(".sfe-again").onclick = () => openFiles(files.slice(index));
        break;
      }
      if (!opened) refused.push($(".sfe-sentence span").textContent);
      else if (first || sent.take) panel.prepare();
    }
    arriving = arriving.filter((tile) => tile !== tiles[index]);
    film(page.state);
  }
  photo.expected();
  if (refused.length) say(refused.join(" "));
}

const choose = () => $(".sfe-file").click();
for (const name of ["choose", "add"]) $(".sfe-" + name).addEventListener("click", choose);
$(".sfe-file").addEventListener("change", () => {
  const files = Array.from($(".sfe-file").files);
  $(".sfe-file").value = "";
  openFiles(files);
});
$(".sfe-try").hidden = !limits.sample;
$(".sfe-try").addEventListener("click", async () => (await act("sample", {}, "Finding the face")) && panel.prepare());
$(".sfe-limits").textContent = `At most ${limits.pixels / 1e6} megapixels and ${Math.round(limits.bytes / 1e6)} MB each.${limits.video ? " A film opens too: MP4, MOV, WebM or GIF." : ""}`;
for (const node of $$(".sfe-with-video")) node.hidden = !limits.video;
for (const type of ["dragenter", "dragover"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    document.body.classList.add("sfe-over");
  });
}
document.addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("sfe-over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("sfe-over");
  openFiles(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => {
  const files = event.clipboardData?.files;
  if (files?.length) openFiles(files);
});
$(".sfe-everywhere").addEventListener("click", () => act("everywhere", {}, "Copying the edits"));

// ---- camera

let stream = null;
const dialog = $(".sfe-dialog");
const video = $(".sfe-dialog video");
function closeCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  if (dialog.open) dialog.close();
}
$(".sfe-camera").addEventListener("click", async () => {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1920 } } });
    video.srcObject = stream;
    await video.play();
  } catch {
    closeCamera();
    say("the camera cannot be used: there is none, another program has it, or the browser was not allowed to");
    return;
  }
  dialog.showModal();
});
$(".sfe-snap").addEventListener("click", () => {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  closeCamera();
  canvas.toBlob((blob) => openFiles([new File([blob], "camera.png", { type: "image/png" })]), "image/png");
});
$(".sfe-cancel").addEventListener("click", closeCamera);
dialog.addEventListener("close", closeCamera);

// ---- saving

const form = $("#sfe-download");
const value = (name) => form.elements[name].value;
let chosen = false; // the visitor has chosen a format
function forms() {
  const name = page.state.photo?.name || "";
  if (!chosen) form.elements.form.value = /\.(jpe?g|hei[cf])$/i.test(name) ? "jpeg" : "png";
  const moves = value("kind").startsWith("moving");
  $(".sfe-forms").hidden = moves;
  $(".sfe-quality").hidden = moves || value("form") === "png";
  $(".sfe-quality output").textContent = value("quality");
  $(".sfe-form-note").textContent = moves ? "Small enough to send; shows how the face changes." : FORM_NOTES[value("form")];
}
form.addEventListener("input", (event) => {
  chosen ||= event.target.name === "form";
  forms();
});
form.addEventListener("beforetoggle", forms);
form.addEventListener("submit", (event) => event.preventDefault());

export async function fetchFile(sent, words) {
  busy(words);
  try {
    const file = await post("save", sent);
    if (!file.blob) throw file;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file.blob);
    link.download = file.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  } catch (error) {
    say(error.sentence || STOPPED, error.again ? () => fetchFile(sent, words) : null);
  } finally {
    done();
  }
}

async function download() {
  forms();
  if (form.matches(":popover-open")) form.hidePopover();
  const sent = { kind: value("kind"), form: value("form"), quality: Number(value("quality")) };
  if (sent.kind !== "zip") return fetchFile(sent, "Making your file");
  const photos = page.state.photos;
  for (const [index, one] of photos.entries()) {
    busy(`Photo ${index + 1} of ${photos.length}`);
    const answer = await post("make", { ...sent, photo: one.number, first: index === 0 }).catch((error) => error);
    done();
    if (answer.sentence) return say(answer.sentence, answer.again ? download : null);
  }
  return fetchFile({ kind: "zip" }, "Packing");
}
$("#sfe-save-photo").addEventListener("click", download);
$(".sfe-go").addEventListener("click", download);
$("#sfe-save-session").addEventListener("click", async () => {
  const left = page.state.photos.filter((one) => one.inversion || one.film).map((one) => one.name);
  await fetchFile({ kind: "session" }, "Saving");
  if (left.length && left.length < page.state.photos.length) say(`${left.join(", ")}: a session holds photos alone, so this was left out`);
});

// ---- steps

const go = (steps) => act("go", { steps });
$("#sfe-undo").addEventListener("click", () => go(-1));
$("#sfe-redo").addEventListener("click", () => go(1));
document.addEventListener("keydown", (event) => {
  const typing = event.target.matches?.("input:not([type=range], [type=radio], [type=checkbox]), textarea, [contenteditable]");
  if (!(event.ctrlKey || event.metaKey) || typing) return;
  const key = event.key.toLowerCase();
  const id = key === "y" || (key === "z" && event.shiftKey) ? "sfe-redo" : key === "z" ? "sfe-undo" : "";
  if (!id) return;
  event.preventDefault();
  document.getElementById(id).click();
});

photo.start();
panel.start();
clip.start();
act("show", {}, "Starting").then((ok) => ok && page.state.photos.length && panel.prepare());
