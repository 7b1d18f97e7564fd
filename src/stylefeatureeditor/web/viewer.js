// The photo: opening one, faces, before and after, zoom, the brush. Python sends messages as
// `props.value` (view.py); what the visitor does goes back as the events "open_file",
// "open_sample", "pick_face" and "paint". Text from outside is only ever set as textContent.

const part = (name) => element.querySelector(".sfe-" + name);
const parts = (name) => Array.from(element.querySelectorAll(".sfe-" + name));
const { bytes: maxBytes, megapixels } = props.limits;
const ctx = part("canvas").getContext("2d");
let photo = 0; // number of the photo that is shown
let zoom = 1;
let mode = "compare";
let erasing = false;
let painted = ""; // the mask as the server knows it
let stroke = null; // last point of the stroke being painted

// ---- sentences and waiting

function say(sentence) {
  const isName = /^\S+\.\w+ /.test(sentence); // a file's name keeps its letters
  part("sentence").textContent = isName ? sentence : sentence.charAt(0).toUpperCase() + sentence.slice(1);
  part("sentence").hidden = !sentence;
  if (sentence) part("sentence").scrollIntoView({ block: "nearest" });
}

function send(event, data) {
  document.dispatchEvent(new CustomEvent("sfe:busy"));
  trigger(event, data);
}

let since = 0; // when the step under way began; 0 if none is
let lastSeconds = 0; // how long the last one took

function tell() {
  const seconds = Math.round((Date.now() - since) / 1000);
  const about = lastSeconds > 2 ? ` of about ${Math.round(lastSeconds)}` : "";
  part("busy").textContent = since && seconds > 1 ? `Drawing: ${seconds}${about} s` : "Drawing\u2026";
}
setInterval(() => since && tell(), 500);

document.addEventListener("sfe:busy", () => {
  since ||= Date.now();
  tell();
  part("busy").hidden = false;
  element.querySelector("section").setAttribute("aria-busy", "true");
});

function isDone() {
  if (since) lastSeconds = (Date.now() - since) / 1000;
  since = 0;
  part("busy").hidden = true;
  element.querySelector("section").setAttribute("aria-busy", "false");
  part("welcome").classList.remove("sfe-loading");
}

// ---- opening

async function openFile(file) {
  if (!file) return;
  if (file.size > maxBytes) {
    say(`${file.name} has ${Math.round(file.size / 1e6)} MB, more than the limit of ${Math.round(maxBytes / 1e6)} MB: make it smaller first`);
    return;
  }
  say("");
  part("welcome").classList.add("sfe-loading");
  document.dispatchEvent(new CustomEvent("sfe:busy"));
  const suffix = (file.name.match(/\.\w+$/) || [""])[0];
  const unique = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
  try {
    const { path } = await upload(new File([file], unique + suffix, { type: file.type }));
    trigger("open_file", { path, name: file.name });
  } catch {
    isDone();
    say("the file did not reach the page: it may be too large, or the program was stopped");
  }
}

const choose = () => part("file").click();
part("choose").addEventListener("click", choose);
part("another").addEventListener("click", choose);
part("file").addEventListener("change", () => {
  openFile(part("file").files[0]);
  part("file").value = "";
});
part("try").hidden = !props.sample;
part("try").addEventListener("click", () => {
  part("welcome").classList.add("sfe-loading");
  send("open_sample", {});
});
part("limits").textContent = `At most ${megapixels} megapixels and ${Math.round(maxBytes / 1e6)} MB.`;

for (const type of ["dragenter", "dragover"]) {
  element.addEventListener(type, (event) => {
    event.preventDefault();
    element.classList.add("sfe-over");
  });
}
element.addEventListener("dragleave", (event) => {
  if (!element.contains(event.relatedTarget)) element.classList.remove("sfe-over");
});
element.addEventListener("drop", (event) => {
  event.preventDefault();
  element.classList.remove("sfe-over");
  openFile(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  const file = Array.from(event.clipboardData?.files || [])[0];
  if (file) openFile(file);
});

// ---- camera

let stream = null;
function closeCamera() {
  if (stream) stream.getTracks().forEach((track) => track.stop());
  stream = null;
  if (part("dialog").open) part("dialog").close();
}
part("camera").addEventListener("click", async () => {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1920 } } });
  } catch {
    say("the camera cannot be used: there is none, another program has it, or the browser was not allowed to");
    return;
  }
  part("video").srcObject = stream;
  await part("video").play();
  part("dialog").showModal();
});
part("snap").addEventListener("click", () => {
  const video = part("video");
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  closeCamera();
  canvas.toBlob((blob) => openFile(new File([blob], "camera.png", { type: "image/png" })), "image/png");
});
part("cancel").addEventListener("click", closeCamera);
part("dialog").addEventListener("close", closeCamera);

// ---- before and after, zoom

function compare() {
  const at = Number(part("compare").value);
  part("stage").style.setProperty("--at", at + "%");
  part("tag-before").hidden = mode !== "compare" || at < 12;
  part("tag-after").hidden = mode !== "compare" || at > 88;
}
part("compare").addEventListener("input", compare);

function setZoom(level) {
  const box = part("scroll");
  const middle = [(box.scrollLeft + box.clientWidth / 2) / box.scrollWidth, (box.scrollTop + box.clientHeight / 2) / box.scrollHeight];
  zoom = Math.min(8, Math.max(1, level));
  part("stage").style.setProperty("--zoom", zoom);
  box.scrollLeft = middle[0] * box.scrollWidth - box.clientWidth / 2;
  box.scrollTop = middle[1] * box.scrollHeight - box.clientHeight / 2;
}
for (const button of parts("zoom")) {
  button.addEventListener("click", () => {
    const way = Number(button.dataset.zoom);
    setZoom(way === 0 ? 1 : way > 0 ? zoom * 1.5 : zoom / 1.5);
  });
}

// ---- faces

function showFaces(faces) {
  const svg = part("faces");
  svg.replaceChildren();
  part("badges").replaceChildren();
  part("all-faces").hidden = faces.length < 2;
  part("all").setAttribute("aria-pressed", String(faces.length > 1 && faces.every((face) => face.chosen)));
  for (const face of faces) {
    const polygon = document.createElementNS("http://www.w3.org/2000/svg", "polygon");
    polygon.setAttribute("points", face.points.map(([x, y]) => `${100 * x},${100 * y}`).join(" "));
    polygon.setAttribute("class", face.chosen ? "sfe-chosen" : "");
    polygon.addEventListener("click", () => faces.length > 1 && send("pick_face", { face: face.number }));
    svg.append(polygon);
    if (faces.length < 2) continue;
    const badge = document.createElement("button");
    badge.type = "button";
    badge.className = "sfe-badge" + (face.chosen ? " sfe-chosen" : "");
    badge.textContent = face.number;
    badge.setAttribute("aria-label", `Edit face ${face.number}`);
    badge.setAttribute("aria-pressed", String(face.chosen));
    const left = Math.min(...face.points.map(([x]) => x));
    const top = Math.min(...face.points.map(([, y]) => y));
    badge.style.left = `${100 * Math.min(0.96, Math.max(0, left))}%`;
    badge.style.top = `${100 * Math.min(0.94, Math.max(0, top))}%`;
    badge.addEventListener("click", () => send("pick_face", { face: face.number }));
    part("badges").append(badge);
  }
}
part("all").addEventListener("click", () => send("pick_face", { face: "all" }));

// ---- the brush

function setMode(next) {
  mode = next;
  part("stage").dataset.mode = mode;
  part("brush").hidden = mode !== "paint";
  for (const button of parts("mode")) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
  compare();
}
for (const button of parts("mode")) button.addEventListener("click", () => setMode(button.dataset.mode));
part("erase").addEventListener("click", () => {
  erasing = !erasing;
  part("erase").setAttribute("aria-pressed", String(erasing));
});
part("clear").addEventListener("click", () => {
  ctx.clearRect(0, 0, ctx.canvas.width, ctx.canvas.height);
  painted = "";
  send("paint", { png: "" });
});

function at(event) {
  const box = ctx.canvas.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * ctx.canvas.width, ((event.clientY - box.top) / box.height) * ctx.canvas.height];
}
function paintTo(point) {
  ctx.globalCompositeOperation = erasing ? "destination-out" : "source-over";
  ctx.strokeStyle = "#4f5fe0"; // any colour: what counts is where paint is
  ctx.lineCap = ctx.lineJoin = "round";
  ctx.lineWidth = (Number(part("brush-size").value) / 100) * Math.max(ctx.canvas.width, ctx.canvas.height);
  ctx.beginPath();
  ctx.moveTo(...stroke);
  ctx.lineTo(point[0] + 0.01, point[1]);
  ctx.stroke();
  stroke = point;
}
part("canvas").addEventListener("pointerdown", (event) => {
  if (mode !== "paint" || event.button !== 0) return;
  event.preventDefault();
  part("canvas").setPointerCapture(event.pointerId);
  stroke = at(event);
  paintTo(stroke);
});
part("canvas").addEventListener("pointermove", (event) => stroke && paintTo(at(event)));
for (const type of ["pointerup", "pointercancel"]) {
  part("canvas").addEventListener(type, () => {
    if (!stroke) return;
    stroke = null;
    painted = ctx.canvas.toDataURL("image/png");
    send("paint", { png: painted });
  });
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

// ---- messages

function show() {
  const message = props.value;
  if (!message) return;
  isDone();
  say(message.sentence);
  part("warning").textContent = message.warning || "";
  part("warning").hidden = !message.warning;
  part("welcome").hidden = message.photo > 0;
  part("work").hidden = message.photo === 0;
  if (message.after) {
    part("after").src = message.after;
    part("crop").src = message.crop;
    part("status").textContent = message.status;
  }
  if (message.before) {
    const isNew = photo !== message.photo;
    photo = message.photo;
    part("before").src = message.before;
    part("crop-before").src = message.crop_before;
    const [width, height] = message.cropped ? [1, 1] : message.size;
    part("stage").style.setProperty("--shape", `${width} / ${height}`);
    part("stage").style.setProperty("--ratio", width / height);
    if (isNew) {
      const scale = Math.min(1, 1024 / Math.max(...message.size));
      ctx.canvas.width = Math.max(1, Math.round(message.size[0] * scale));
      ctx.canvas.height = Math.max(1, Math.round(message.size[1] * scale));
      painted = "";
      setZoom(1);
      const lefts = message.faces.filter((face) => face.chosen).flatMap((face) => face.points.map(([x]) => 100 * x));
      part("compare").value = Math.min(90, Math.max(4, Math.min(50, ...lefts) - 1)); // the face is seen edited
      setMode("compare");
    }
    part("stage").dataset.mask = message.mask;
    part("stage").classList.toggle("sfe-cropped", message.cropped);
    showFaces(message.cropped ? [] : message.faces);
    showPainted(message.painted);
  }
  element.dataset.number = message.number;
  document.dispatchEvent(new CustomEvent("sfe:drawn", { detail: message }));
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches?.("input:not([type=range]), textarea, [contenteditable]");
  if (!(event.ctrlKey || event.metaKey) || typing) return;
  const key = event.key.toLowerCase();
  const id = key === "y" || (key === "z" && event.shiftKey) ? "sfe-redo" : key === "z" ? "sfe-undo" : "";
  if (!id) return;
  event.preventDefault();
  document.getElementById(id)?.click();
});

watch("value", show);
setMode("compare");
show();
