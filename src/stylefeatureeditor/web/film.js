// A film: the frame that is shown, and the edited film while it is made.

import { $, act, fetchFile, post, say } from "./page.js";
import { photo } from "./photo.js";

const AGAIN = 1000; // ms between two looks at how far the film is
const STAGES = { waiting: "Waiting", "finding faces": "Finding faces", editing: "Drawing", joining: "Joining" };
let timer = 0;

export const film = { start, show };

function show(state) {
  clearTimeout(timer);
  const own = state.clip;
  $(".sfe-clip").hidden = !own;
  if (!own) return;
  const slider = $(".sfe-clip-at input");
  $(".sfe-clip-at").hidden = !own.seconds;
  slider.max = own.seconds;
  slider.value = own.second;
  at();
  tell(own);
}

function at() {
  $(".sfe-clip-at output").textContent = `${Number($(".sfe-clip-at input").value).toFixed(2)} s`;
}

function tell({ stage, done, total, left, ahead }) {
  const working = stage in STAGES;
  $(".sfe-clip-make").hidden = working;
  $(".sfe-clip-cancel").hidden = !working;
  $(".sfe-clip-save").hidden = stage !== "ready";
  let words = STAGES[stage] || "";
  if (stage === "waiting" && ahead) words += `: ${ahead} before yours`;
  else if (done && working) words += `: frame ${done}${total ? " of " + total : ""}`;
  if (working && left >= 1) words += left < 90 ? `, ${Math.round(left)} s left` : `, ${Math.round(left / 60)} min left`;
  $(".sfe-clip-told").textContent = words;
  clearTimeout(timer);
  if (working) timer = setTimeout(ask, AGAIN);
}

async function ask(what) {
  const { number } = photo;
  const answer = await post("film", { photo: number, do: what }).catch((error) => error);
  if (answer.sentence) say(answer.sentence, answer.again ? () => ask(what) : null);
  if (number === photo.number && answer.stage !== undefined) tell(answer);
}

function start() {
  $(".sfe-clip-at input").addEventListener("input", at);
  $(".sfe-clip-at input").addEventListener("change", () => act("frame", { second: Number($(".sfe-clip-at input").value) }, "Finding the face"));
  $(".sfe-clip-make").addEventListener("click", () => ask("start"));
  $(".sfe-clip-cancel").addEventListener("click", () => ask("cancel"));
  $(".sfe-clip-save").addEventListener("click", () => fetchFile({ kind: "film" }, "Fetching the film"));
}
