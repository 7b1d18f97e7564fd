// The photo: before and after, zoom, faces, the brush, and the box around a face that was not found.

import { $, $$, act, page } from "./page.js";

const NEAREST = 8; // times as large
let mode = "compare";
let erasing = false;
let painted = ""; // the mask as the program knows it
let painting = 0; // steps under way; until they are answered the canvas knows better
let drag = null; // {kind, from, last} of the pointer that is down
let view = { zoom: 1, x: 0, y: 0 }; // x, y in px from the middle of the frame
let ctx = null;
let expectedUrl = "";
const fingers = new Map();

export const photo = { key: "", number: 0, start, show, draft, expect, expected };

function show(state) {
  const own = state.photo;
  if (!state.photos.length) Object.assign(photo, { key: "", number: 0 });
  if (own) {
    const isNew = photo.number !== own.number || photo.key !== own.key;
    const fresh = photo.number !== own.number;
    photo.number = own.number;
    photo.key = own.key;
    if (own.before) {
      $(".sfe-before").src = own.before;
      photo.faces = own.faces;
      photo.pictures = own.pictures;
    }
    $(".sfe-after").src = own.after || $(".sfe-before").src;
    const [width, height] = own.cropped ? [1, 1] : own.size;
    shape(width, height, own.cropped ? 0 : width);
    if (isNew) {
      const scale = Math.min(1, 1024 / Math.max(...own.size));
      ctx.canvas.width = Math.max(1, Math.round(own.size[0] * scale));
      ctx.canvas.height = Math.max(1, Math.round(own.size[1] * scale));
      painted = "";
      if (fresh) fit();
      const lefts = photo.faces.flatMap((face) => face.map(([x]) => 100 * x));
      if (fresh) $(".sfe-compare").value = Math.min(90, Math.max(4, Math.min(50, ...lefts) - 1)); // faces are seen edited
      setMode(photo.faces.length || own.cropped || own.aligned ? "compare" : mode);
    }
    if (isNew || !(painting || drag?.kind === "paint")) showPainted(own.painted);
    $(".sfe-status").textContent = own.status;
    const said = [state.warning, own.sentence].filter(Boolean).join(" ");
    $(".sfe-warning").textContent = said;
    $(".sfe-warning").hidden = !said;
  }
  showFaces(state);
}

function draft(message) {
  if (message.after) $(".sfe-after").src = message.after;
}

function shape(width, height, natural) {
  const { style } = $(".sfe-frame");
  style.setProperty("--ratio", width / height);
  style.setProperty("--natural", natural ? `${Math.max(640, 2.5 * natural)}px` : "100cqw");
}

// What was dropped is seen at once, while the program still looks for the face.
function expect(file) {
  if (!file.type.startsWith("image/")) return;
  expectedUrl = URL.createObjectURL(file);
  const image = $(".sfe-before");
  image.onload = () => {
    if (expectedUrl && image.src === expectedUrl) shape(image.naturalWidth, image.naturalHeight, image.naturalWidth);
  };
  image.src = expectedUrl;
  $(".sfe-after").removeAttribute("src");
  document.body.classList.add("sfe-expecting");
}
function expected() {
  document.body.classList.remove("sfe-expecting");
  if (expectedUrl) URL.revokeObjectURL(expectedUrl);
  expectedUrl = "";
}

// ---- before and after, zoom

function compare() {
  const at = Number($(".sfe-compare").value);
  $(".sfe-stage").style.setProperty("--at", at + "%");
  $(".sfe-tag-before").hidden = mode !== "compare" || at < 12;
  $(".sfe-tag-after").hidden = mode !== "compare" || at > 88;
}

function look(zoom, x, y) {
  const frame = $(".sfe-frame");
  const stage = $(".sfe-stage");
  zoom = Math.min(NEAREST, Math.max(1, zoom));
  const room = (side, box) => Math.max(0, (zoom * side - box) / 2);
  const [right, down] = [room(stage.offsetWidth, frame.clientWidth), room(stage.offsetHeight, frame.clientHeight)];
  view = { zoom, x: Math.min(right, Math.max(-right, x)), y: Math.min(down, Math.max(-down, y)) };
  for (const [name, number] of Object.entries(view)) stage.style.setProperty("--" + name, name === "zoom" ? number : number + "px");
  frame.classList.toggle("sfe-near", zoom > 1);
  for (const button of $$(".sfe-zoom")) button.disabled = button.dataset.zoom <= 0 && zoom === 1;
}
const fit = () => look(1, 0, 0);

// The point under the pointer (px from the frame's middle) stays where it is.
function zoomAt(point, factor) {
  const zoom = Math.min(NEAREST, Math.max(1, view.zoom * factor));
  const grown = zoom / view.zoom;
  look(zoom, point[0] - (point[0] - view.x) * grown, point[1] - (point[1] - view.y) * grown);
}
function fromMiddle(event) {
  const box = $(".sfe-frame").getBoundingClientRect();
  return [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
}

// ---- faces

function showFaces(state) {
  const svg = $(".sfe-outlines");
  svg.replaceChildren();
  $(".sfe-badges").replaceChildren();
  const faces = state.photo || !state.photos.length || photo.faces ? photo.faces || [] : [];
  if (faces.length < 2 || state.blend === "none") return;
  faces.forEach((points, index) => {
    const number = index + 1;
    const chosen = state.face === "all" || state.face === number;
    const outline = document.createElementNS("http://www.w3.org/2000/svg", "polygon");
    outline.setAttribute("points", points.map(([x, y]) => `${100 * x},${100 * y}`).join(" "));
    svg.append(outline);
    const badge = document.createElement("button");
    badge.type = "button";
    badge.className = "sfe-badge";
    badge.textContent = number;
    badge.setAttribute("aria-label", `Edit face ${number}`);
    badge.setAttribute("aria-pressed", String(chosen));
    const [middle, top] = [0, 1].map((axis) => (0.95 * (points[0][axis] + points[3][axis]) + 0.05 * (points[1][axis] + points[2][axis])) / 2);
    badge.style.left = `${100 * Math.min(0.97, Math.max(0.03, middle))}%`;
    badge.style.top = `${100 * Math.min(0.95, Math.max(0.04, top))}%`;
    badge.addEventListener("click", () => act("face", { face: number }));
    for (const [type, on] of [["pointerenter", true], ["pointerleave", false]]) {
      badge.addEventListener(type, () => outline.classList.toggle("sfe-shown", on));
    }
    $(".sfe-badges").append(badge);
  });
}

// ---- modes and the brush

function setMode(next) {
  mode = next;
  $(".sfe-stage").dataset.mode = mode;
  $(".sfe-brush").hidden = mode !== "paint";
  for (const button of $$(".sfe-mode")) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
  compare();
}

function at(event) {
  const box = ctx.canvas.getBoundingClientRect();
  const part = (number) => Math.min(1, Math.max(0, number));
  return [part((event.clientX - box.left) / box.width), part((event.clientY - box.top) / box.height)];
}
const onCanvas = ([x, y]) => [x * ctx.canvas.width, y * ctx.canvas.height];

function paintTo(point) {
  ctx.globalCompositeOperation = erasing ? "destination-out" : "source-over";
  ctx.strokeStyle = "#4f46e5"; // any colour: what counts is where paint is
  ctx.lineCap = ctx.lineJoin = "round";
  ctx.lineWidth = (Number($(".sfe-brush-size").value) / 100) * Math.max(ctx.canvas.width, ctx.canvas.height);
  ctx.beginPath();
  ctx.moveTo(...onCanvas(drag.last));
  const [x, y] = onCanvas(point);
  ctx.lineTo(x + 0.01, y);
  ctx.stroke();
}

function showPainted(url) {
  if (url === painted) return;
  painted = url;
  ctx.clearRect(0, 0, ctx.canvas.width, ctx.canvas.height);
  if (!url) return;
  const image = new Image();
  image.onload = () => {
    ctx.globalCompositeOperation = "source-over";
    ctx.drawImage(image, 0, 0, ctx.canvas.width, ctx.canvas.height);
  };
  image.src = url;
}

async function sendPainted(png) {
  painting += 1;
  await act("paint", { png });
  painting -= 1;
  if (!painting && drag?.kind !== "paint" && page.state.photo) showPainted(page.state.photo.painted);
}

function showBox() {
  const [[a, b], [c, d]] = [drag.from, drag.last];
  const box = $(".sfe-box");
  box.hidden = false;
  Object.assign(box.style, { left: 100 * Math.min(a, c) + "%", top: 100 * Math.min(b, d) + "%", width: 100 * Math.abs(c - a) + "%", height: 100 * Math.abs(d - b) + "%" });
}

// ---- pointers: one paints, draws a box or moves the photo; two pinch

function down(event) {
  if (event.target.closest("button, .sfe-compare") || event.button !== 0) return;
  fingers.set(event.pointerId, event);
  $(".sfe-frame").setPointerCapture(event.pointerId);
  if (fingers.size > 1) {
    drag = null;
    return;
  }
  const kind = mode === "compare" ? "move" : mode;
  if (kind !== "move") event.preventDefault();
  drag = { kind, from: at(event), last: at(event), view, start: fromMiddle(event) };
  if (kind === "paint") paintTo(drag.last);
}

function move(event) {
  if (!fingers.has(event.pointerId)) return;
  if (fingers.size === 2) {
    const others = [...fingers.values()].filter((one) => one.pointerId !== event.pointerId);
    const [other] = others;
    const old = fingers.get(event.pointerId);
    const span = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
    const middle = [event, other].map(fromMiddle).reduce((a, b) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2]);
    zoomAt(middle, span(event) / Math.max(1, span(old)));
  } else if (drag) {
    const point = at(event);
    if (drag.kind === "move") {
      const now = fromMiddle(event);
      if (view.zoom > 1) look(view.zoom, drag.view.x + now[0] - drag.start[0], drag.view.y + now[1] - drag.start[1]);
    } else if (drag.kind === "paint") {
      paintTo(point);
    }
    drag.last = point;
    if (drag.kind === "point") showBox();
  }
  fingers.set(event.pointerId, event);
}

function up(event) {
  if (!fingers.delete(event.pointerId) || !drag) return;
  const { kind, from, last } = drag;
  drag = null;
  if (kind === "paint") {
    painted = ctx.canvas.toDataURL("image/png");
    sendPainted(painted);
  } else if (kind === "point") {
    $(".sfe-box").hidden = true;
    const box = [Math.min(from[0], last[0]), Math.min(from[1], last[1]), Math.max(from[0], last[0]), Math.max(from[1], last[1])];
    act("point", { box }, "Looking at the face").then((ok) => ok && setMode("compare"));
  }
}

function start() {
  ctx = $(".sfe-canvas").getContext("2d");
  const frame = $(".sfe-frame");
  $(".sfe-compare").addEventListener("input", compare);
  frame.addEventListener("pointerdown", down);
  frame.addEventListener("pointermove", move);
  for (const type of ["pointerup", "pointercancel"]) frame.addEventListener(type, up);
  frame.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomAt(fromMiddle(event), Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)));
  }, { passive: false });
  for (const button of $$(".sfe-zoom")) {
    const way = Number(button.dataset.zoom);
    button.addEventListener("click", () => (way === 0 ? fit() : zoomAt([0, 0], way > 0 ? 1.5 : 1 / 1.5)));
  }
  new ResizeObserver(() => look(view.zoom, view.x, view.y)).observe(frame);
  for (const button of $$(".sfe-mode")) {
    button.addEventListener("click", () => setMode(button.dataset.mode === mode ? "compare" : button.dataset.mode));
  }
  $(".sfe-erase").addEventListener("click", () => {
    erasing = !erasing;
    $(".sfe-erase").setAttribute("aria-pressed", String(erasing));
  });
  $(".sfe-clear").addEventListener("click", () => sendPainted(""));
  $(".sfe-turn").addEventListener("click", () => {
    const edited = Object.keys(page.state.edits || {}).length;
    if (!edited || confirm("Turn the photo? Its edits start anew.")) act("turn", {}, "Turning");
  });
  const hold = $("#sfe-original");
  const original = (on) => $(".sfe-stage").classList.toggle("sfe-as-it-was", on);
  for (const type of ["pointerdown", "keydown"]) hold.addEventListener(type, (event) => (event.key || " ") === " " && original(true));
  for (const type of ["pointerup", "pointerleave", "pointercancel", "keyup", "blur"]) hold.addEventListener(type, () => original(false));
  setMode("compare");
}
