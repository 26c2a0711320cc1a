"use strict";
const $ = (id) => document.getElementById(id);
const PHASES = {
  idle: "ready", preparing: "getting ready", countdown: "quiet, please", recording: "recording",
  finishing: "finishing", verdict: "verdict", fault: "problem", finished: "finished",
};
const STATUS = { pending: "", kept: "kept", retake: "again", skipped: "skipped" };
const READY = ["idle", "fault", "verdict"];
const CLIP_MS = 2000, PREVIEW_MS = 150, PREVIEW_LOST_MS = 1000, PATIENCE_MS = 600;
const USUAL_MB = 20; // on its way to the disk at any time
const LOST = "Connection lost, trying again. What is being recorded does not depend on this page.";
const ENDED = "The recording program has ended. The same command goes on with the session.";
let state = null, scriptKey = "", clipped = 0, pressed = 0, connected = false;
const figures = new Map();

const send = link("/ws", (next) => {
  if (next.refused) set($("message"), next.refused); else show(next);
}, (gone) => {
  connected = !gone;
  const ended = state && state.phase === "finished";
  set($("lost"), gone ? (ended ? ENDED : LOST) : "");
  $("lost").hidden = !gone;
  if (gone) { scriptKey = ""; buttons(); }
});

// what is shown

function show(next) {
  if (!state || seen(state) !== seen(next)) pressed = 0;
  state = next;
  showPhase(next);
  showSentence(next);
  showSound(next);
  showCameras(next.cameras);
  buttons();
  const key = [next.done, next.retakes, next.number, next.take, next.phase, next.notes.length].join();
  if (key !== scriptKey) { scriptKey = key; showScript(); }
}

function seen(some) { return `${some.phase} ${some.number} ${some.message}`; }

function showPhase(next) {
  document.body.dataset.phase = next.phase;
  document.body.dataset.passed = next.phase === "verdict" ? String(next.passed) : "";
  set($("word"), next.phase === "verdict" ? (next.passed ? "good" : "say it again") : PHASES[next.phase]);
  const left = Math.max(next.countdown_s - next.since_s, 0);
  set($("seconds"), next.phase === "recording" ? `${next.since_s.toFixed(0)} s`
    : next.phase === "countdown" ? String(Math.ceil(left)) : "");
  set($("counts"), [
    `${next.done} of ${next.total} done`, next.retakes ? `${next.retakes} to be repeated` : "",
    next.eta_s ? `about ${duration(next.eta_s)} left` : "", next.auto ? "records by itself" : "", next.subject,
  ].filter(Boolean).join(" · "));
  $("bar").firstElementChild.style.width = `${100 * next.done / Math.max(next.total, 1)}%`;
}

function showSentence(next) {
  set($("text"), next.item ? next.item.text : "Every sentence is said.");
  $("text").lang = next.item ? next.item.language : "en";
  set($("emotion"), next.item ? next.item.emotion : "");
  set($("number"), next.item ? `${next.number} of ${next.total} · ${next.take || next.item.id}` : "");
  set($("message"), next.message);
  set($("noted"), next.notes.length ? `Notes: ${next.notes.join(" · ")}` : "");
  list($("verdict"), next.phase === "verdict" ? next.reasons : []);
}

function set(element, text) { if (element.textContent !== text) element.textContent = text; }

function list(element, texts) {
  if (element.dataset.key === texts.join("\n")) return;
  element.dataset.key = texts.join("\n");
  element.replaceChildren(...texts.map((text) => made("li", text)));
}

function made(tag, text) { return Object.assign(document.createElement(tag), { textContent: text }); }

function duration(seconds) {
  const minutes = Math.round(seconds / 60);
  return minutes < 1 ? `${seconds} s` : minutes < 90 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}

function showSound(next) {
  const level = Math.round(Math.max(-60, Math.min(0, next.level_dbfs)));
  $("meter").firstElementChild.style.clipPath = `inset(0 ${100 * -level / 60}% 0 0)`;
  $("meter").setAttribute("aria-valuenow", String(level));
  set($("level"), `${level} dB`);
  if (next.peak > 0.99) clipped = Date.now();
  $("clip").classList.toggle("on", Date.now() - clipped < CLIP_MS);
  set($("queue"), `disk: ${next.waiting_mb < USUAL_MB ? "keeps up" : `${next.waiting_mb} MB waiting`}`);
}

function showCameras(cameras) {
  for (const camera of cameras) {
    let figure = figures.get(camera.serial);
    if (!figure) { figure = makeFigure(camera); figures.set(camera.serial, figure); $("cameras").append(figure); }
    figure.classList.toggle("dead", !camera.alive);
    set(figure.querySelector("span:last-child"), camera.alive ? [camera.position, camera.role].filter(Boolean).join(", ") : "no pictures");
  }
}

function makeFigure(camera) {
  const figure = document.createElement("figure"), image = document.createElement("img");
  image.alt = `what camera ${camera.serial} sees`;
  const caption = document.createElement("figcaption");
  caption.append(made("span", camera.serial), made("span", ""));
  figure.append(image, caption);
  film(camera.serial, image);
  return figure;
}

// the last picture stays where no other comes
async function film(serial, image) {
  for (;;) {
    const came = await picture(serial, image).catch(() => false);
    await new Promise((resolve) => setTimeout(resolve, came ? PREVIEW_MS : PREVIEW_LOST_MS));
  }
}

async function picture(serial, image) {
  const answer = await fetch(`/preview/${encodeURIComponent(serial)}.jpg`, { signal: AbortSignal.timeout(5000) });
  if (!answer.ok) return false;
  const before = image.src, now = URL.createObjectURL(await answer.blob());
  image.src = now;
  await image.decode();
  if (before) URL.revokeObjectURL(before);
  return true;
}

async function showScript() {
  const key = scriptKey, answer = await fetch("/script").catch(() => null);
  if (!answer || !answer.ok) { scriptKey = ""; return; }
  const items = await answer.json();
  if (key !== scriptKey) return; // a later answer is on its way
  $("script").replaceChildren(...items.map(makeRow));
  const now = $("script").querySelector(".now");
  if (now) now.scrollIntoView({ block: "nearest" });
}

function makeRow(item) {
  const row = document.createElement("li");
  row.className = item.status;
  if (state.item && state.item.id === item.id) { row.classList.add("now"); row.setAttribute("aria-current", "true"); }
  row.append(made("span", item.number), made("b", item.text), made("em", STATUS[item.status]));
  if (item.status === "retake" && item.reasons.length) row.append(made("small", item.reasons[0]));
  row.title = [item.text, ...item.reasons, ...item.notes].join("\n");
  return row;
}

// what can be done

function may(command) {
  if (!state || !connected) return false;
  if (command === "stop") return state.phase === "recording";
  if (command === "keep" || command === "retake") return state.phase === "verdict";
  if (command === "quit") return state.phase !== "finished";
  if (command === "note") return state.item !== null && state.phase !== "finished";
  return READY.includes(state.phase);
}

// until the recorder has answered with another phase, a second press means nothing: it was the same finger
function press(command, text = "") {
  if (!may(command)) return;
  if (command !== "note") {
    if (Date.now() - pressed < PATIENCE_MS) return;
    pressed = Date.now();
  }
  send({ command, text });
}

function buttons() {
  const recording = state !== null && state.phase === "recording", judged = state !== null && state.phase === "verdict";
  set($("go").firstElementChild, recording ? "Stop" : judged ? "Record again" : "Record");
  $("go").disabled = !(may("record") || may("stop"));
  $("go").classList.toggle("main", !(judged && state.passed));
  for (const button of document.querySelectorAll("[data-command]")) button.disabled = !may(button.dataset.command);
  document.querySelector("[data-command=keep]").classList.toggle("best", judged && state.passed);
  $("note").disabled = !may("note");
  $("end").disabled = !may("quit");
  $("hear").disabled = !hearable();
  if (recording) silence();
}

function go() { press(may("stop") ? "stop" : state && state.phase === "verdict" ? "retake" : "record"); }

function hearable() { return connected && state !== null && state.heard !== null && READY.includes(state.phase); }

function hear() {
  const audio = $("heard");
  if (!hearable()) return;
  if (!audio.hidden && !audio.paused) { silence(); return; }
  audio.src = `/takes/${encodeURIComponent(state.heard)}/audio.wav`;
  audio.hidden = false;
  audio.play().catch(() => set($("message"), "this take cannot be heard"));
}

// nothing may sound while somebody speaks
function silence() {
  const audio = $("heard");
  if (audio.hidden) return;
  audio.pause();
  audio.hidden = true;
}

function note() {
  if (!may("note")) return;
  $("words").value = "";
  $("noting").returnValue = "";
  $("noting").showModal();
  $("words").focus();
}
function end() { if (may("quit")) { $("ending").returnValue = ""; $("ending").showModal(); } }
function help() { $("keys").showModal(); }

$("noting").addEventListener("close", () => {
  if ($("noting").returnValue === "save" && $("words").value.trim()) press("note", $("words").value);
});
$("words").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("noting").close("save");
});
$("ending").addEventListener("close", () => { if ($("ending").returnValue === "end") press("quit"); });
for (const [id, action] of [["go", go], ["note", note], ["hear", hear], ["ask", help], ["end", end]]) {
  $(id).addEventListener("click", action);
}
for (const button of document.querySelectorAll("[data-command]")) {
  button.addEventListener("click", () => press(button.dataset.command));
}

const KEYS = {
  " ": go, r: go, k: () => press("keep"), Enter: () => press("keep"), t: () => press("retake"), s: () => press("skip"),
  b: () => press("back"), j: () => press("next"), n: note, h: hear, "?": help, q: end,
};
document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const focused = document.activeElement;
  if (focused.closest("button, audio") && (event.key === "Enter" || event.key === " ")) return; // it is pressed itself
  const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (action) { event.preventDefault(); action(); }
});
// a button that was clicked does not keep the keyboard
document.addEventListener("click", (event) => {
  if (event.detail > 0 && document.activeElement.tagName === "BUTTON") document.activeElement.blur();
});
