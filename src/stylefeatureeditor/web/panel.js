// The sliders of a model, grouped. Python sends them as `props.value` (view.py); a moving slider
// sends "drag" with all strengths, one that was let go sends "settle". Only one drag is under way
// at a time and only the last of those that had to wait is sent, so the picture never lags behind.

const part = (name) => element.querySelector(".sfe-" + name);
const FOLDED_FROM = 4; // groups after so many start closed when there are many
const HINTS = {
  live: "Drag several at once if you like. A double click resets one.",
  preview: "A preview follows while you drag, the finished picture when you let go.",
  release: "This model takes a while on this machine: the picture follows when you let go.",
};
const PATIENCE = 120000; // ms until an answer that never came is given up
let rows = new Map(); // name -> {slider, number, reset, spec}
let layout = "";
let pace = "live"; // how the picture follows a slider: "live", as a "preview", on "release"
let last = -1;
let underway = 0; // when the step that is being drawn was sent; 0 if none is
let pending = null;

function strengths() {
  const edits = {};
  for (const [name, row] of rows) if (Number(row.slider.value)) edits[name] = Number(row.slider.value);
  return edits;
}

function send(event) {
  if (underway && Date.now() - underway < PATIENCE) {
    pending = event === "settle" || pending === "settle" ? "settle" : event;
    return;
  }
  underway = Date.now();
  pending = null;
  document.dispatchEvent(new CustomEvent("sfe:busy"));
  trigger(event === "drag" ? "drag" : "settle", { edits: strengths() });
}

document.addEventListener("sfe:drawn", (event) => {
  underway = 0;
  if (event.detail.pace && event.detail.pace !== pace) {
    pace = event.detail.pace;
    hint();
  }
  if (pending) send(pending);
});

function mark(row) {
  const value = Number(row.slider.value);
  const { low, high } = row.spec;
  const at = (number) => (100 * (number - low)) / (high - low);
  row.slider.style.setProperty("--from", Math.min(at(0), at(value)) + "%");
  row.slider.style.setProperty("--to", Math.max(at(0), at(value)) + "%");
  row.reset.disabled = !value;
  row.box.classList.toggle("sfe-moved", Boolean(value));
}

function set(row, value) {
  row.slider.value = value;
  row.number.value = String(Number(Number(value).toFixed(2)));
  mark(row);
}

function build(spec) {
  const box = document.createElement("div");
  box.className = "sfe-row";
  const label = document.createElement("label");
  label.textContent = spec.label;
  label.htmlFor = "sfe-" + spec.name;
  label.title = spec.help;
  const slider = document.createElement("input");
  Object.assign(slider, { type: "range", id: "sfe-" + spec.name, min: spec.low, max: spec.high, step: spec.step });
  slider.title = spec.help;
  slider.dataset.name = spec.name;
  const number = document.createElement("input");
  Object.assign(number, { type: "number", min: spec.low, max: spec.high, step: spec.step });
  number.setAttribute("aria-label", `${spec.label}, strength`);
  const reset = document.createElement("button");
  Object.assign(reset, { type: "button", textContent: "\u21ba", title: "Reset" });
  reset.className = "sfe-reset";
  reset.setAttribute("aria-label", `Reset ${spec.label}`);
  box.append(label, number, reset, slider);
  const row = { slider, number, reset, spec, box };
  slider.addEventListener("input", () => {
    set(row, slider.value);
    if (pace !== "release") send("drag");
  });
  slider.addEventListener("change", () => send("settle"));
  number.addEventListener("change", () => {
    set(row, Math.min(spec.high, Math.max(spec.low, Number(number.value) || 0)));
    send("settle");
  });
  for (const target of [reset, slider]) {
    target.addEventListener(target === reset ? "click" : "dblclick", () => {
      set(row, 0);
      send("settle");
    });
  }
  rows.set(spec.name, row);
  return box;
}

function lay(groups) {
  rows = new Map();
  const list = part("sliders");
  list.replaceChildren();
  const count = groups.reduce((sum, group) => sum + group.sliders.length, 0);
  part("search").hidden = count <= 12;
  groups.forEach((group, index) => {
    const details = document.createElement("details");
    details.open = count <= 16 || index < FOLDED_FROM;
    const title = document.createElement("summary");
    title.textContent = group.title;
    details.append(title, ...group.sliders.map(build));
    list.append(details);
  });
}

part("search").addEventListener("input", () => {
  const words = part("search").value.trim().toLowerCase();
  for (const details of element.querySelectorAll("details")) {
    let any = false;
    for (const box of details.querySelectorAll(".sfe-row")) {
      box.hidden = words !== "" && !box.textContent.toLowerCase().includes(words);
      any ||= !box.hidden;
    }
    details.hidden = !any;
    if (words) details.open = true;
  }
});

function hint() {
  const message = props.value;
  part("hint").textContent = !message.groups.length
    ? "This model knows no directions."
    : !message.ready
      ? "Open a photo, then drag."
      : HINTS[pace];
}

function show() {
  const message = props.value;
  if (!message || message.number === last) return;
  last = message.number;
  const key = JSON.stringify(message.groups);
  if (key !== layout) lay(message.groups);
  layout = key;
  for (const [name, row] of rows) {
    set(row, message.edits[name] ?? 0);
    row.slider.disabled = row.number.disabled = !message.ready;
    if (!message.ready) row.reset.disabled = true;
  }
  hint();
  part("missing").hidden = !message.missing;
  part("missing").textContent = `${message.missing} more edits need files that are not on this machine.`;
}

watch("value", show);
show();
