"use strict";
const $ = (id) => document.getElementById(id);
const PHASES = {
  idle: "ready", preparing: "getting ready", countdown: "quiet, please", recording: "recording",
  finishing: "finishing", verdict: "verdict", fault: "problem", finished: "finished",
};
let state = null, scriptKey = "", figures = new Map(), clipped = 0;

const send = link("/ws", show, (gone) => { $("lost").hidden = !gone; });
const press = (command, text = "") => send({ command, text });

function show(next) {
  if (next.refused) { $("message").textContent = next.refused; return; }
  state = next;
  document.body.dataset.phase = next.phase;
  document.body.dataset.passed = next.phase === "verdict" ? String(next.passed) : "";
  const word = next.phase === "verdict" ? (next.passed ? "good" : "to be repeated") : PHASES[next.phase];
  set($("phase"), next.phase === "recording" ? `${word} ${next.since_s.toFixed(0)} s` : word);
  set($("counts"), `${next.done} of ${next.total} done` + (next.retakes ? `, ${next.retakes} to be repeated` : "")
    + (next.eta_s ? `, about ${duration(next.eta_s)} left` : "") + (next.auto ? ", by itself" : ""));
  $("bar").firstElementChild.style.width = `${100 * next.done / Math.max(next.total, 1)}%`;
  set($("text"), next.item ? next.item.text : "Every sentence is said.");
  if (next.item) $("text").lang = next.item.language;
  set($("emotion"), next.item ? next.item.emotion : "");
  set($("number"), next.item ? `${next.number} of ${next.total} · ${next.item.id}` : "");
  set($("message"), next.message);
  set($("noted"), next.notes.join(" · "));
  list($("verdict"), next.phase === "verdict" ? next.reasons : []);
  showSound(next);
  showCameras(next.cameras);
  buttons(next);
  const key = [next.done, next.retakes, next.number, next.take, next.phase, next.notes.length].join();
  if (key !== scriptKey) { scriptKey = key; showScript(); }
}

function set(element, text) { if (element.textContent !== text) element.textContent = text; }

function list(element, texts) {
  if (element.dataset.key === texts.join("\n")) return;
  element.dataset.key = texts.join("\n");
  element.replaceChildren(...texts.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
}

function duration(seconds) {
  const minutes = Math.round(seconds / 60);
  return minutes < 1 ? `${seconds} s` : minutes < 90 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}

function showSound(next) {
  const level = Math.max(-60, Math.min(0, next.level_dbfs));
  $("meter").firstElementChild.style.width = `${100 * (level + 60) / 60}%`;
  $("meter").setAttribute("aria-valuenow", String(Math.round(level)));
  set($("level"), `${Math.round(next.level_dbfs)} dB`);
  if (next.peak > 0.99) clipped = Date.now();
  $("clip").classList.toggle("on", Date.now() - clipped < 2000);
}

function showCameras(cameras) {
  for (const camera of cameras) {
    let figure = figures.get(camera.serial);
    if (!figure) { figure = makeFigure(camera); figures.set(camera.serial, figure); $("cameras").append(figure); }
    figure.classList.toggle("dead", !camera.alive);
    set(figure.querySelector("span:last-child"), camera.alive ? camera.role : "no pictures");
  }
}

function makeFigure(camera) {
  const figure = document.createElement("figure"), image = document.createElement("img");
  image.alt = `camera ${camera.serial}`;
  const caption = document.createElement("figcaption");
  caption.append(document.createElement("span"), document.createElement("span"));
  caption.firstElementChild.textContent = camera.serial;
  figure.append(image, caption);
  const again = () => setTimeout(() => { image.src = `/preview/${encodeURIComponent(camera.serial)}.jpg?${Date.now()}`; }, 150);
  image.onload = again;
  image.onerror = () => setTimeout(again, 1000);
  again();
  return figure;
}

async function showScript() {
  const answer = await fetch("/script").catch(() => null);
  if (!answer || !answer.ok) return;
  const rows = (await answer.json()).map((item) => {
    const row = document.createElement("li");
    row.className = item.status + (state.item && state.item.id === item.id ? " now" : "");
    const words = { pending: "", kept: "kept", retake: "again", skipped: "skipped" };
    for (const [tag, text] of [["span", item.number], ["b", item.text], ["em", words[item.status]]]) {
      row.append(Object.assign(document.createElement(tag), { textContent: text }));
    }
    row.title = [item.text, ...item.reasons, ...item.notes].join("\n");
    return row;
  });
  $("script").replaceChildren(...rows);
  const now = $("script").querySelector(".now");
  if (now) now.scrollIntoView({ block: "nearest" });
}

function buttons(next) {
  const recording = next.phase === "recording", ready = ["idle", "fault", "verdict"].includes(next.phase);
  $("go").firstChild.textContent = recording ? "Stop" : "Record";
  $("go").disabled = !(recording || ready);
  for (const button of document.querySelectorAll("[data-command]")) {
    const verdict = ["keep", "retake"].includes(button.dataset.command);
    button.disabled = verdict ? next.phase !== "verdict" : !ready;
  }
  $("hear").disabled = !next.take || recording;
}

function go() {
  if (!state) return;
  if (state.phase === "recording") press("stop");
  else if (state.phase === "verdict") press("retake");
  else press("record");
}

function hear() {
  if (!state || !state.take || state.phase === "recording") return;
  const audio = $("heard");
  audio.src = `/takes/${encodeURIComponent(state.take)}/audio.wav`;
  audio.hidden = false;
  audio.play().catch(() => {});
}

function note() { $("words").value = ""; $("noting").returnValue = ""; $("noting").showModal(); $("words").focus(); }
$("noting").addEventListener("close", () => {
  if ($("noting").returnValue === "save" && $("words").value.trim()) press("note", $("words").value);
});
$("words").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("noting").close("save");
});
$("ending").addEventListener("close", () => { if ($("ending").returnValue === "end") press("quit"); });
const end = () => { $("ending").returnValue = ""; $("ending").showModal(); };

$("go").addEventListener("click", go);
$("note").addEventListener("click", note);
$("hear").addEventListener("click", hear);
$("ask").addEventListener("click", () => $("keys").showModal());
$("end").addEventListener("click", end);
for (const button of document.querySelectorAll("[data-command]")) {
  button.addEventListener("click", () => press(button.dataset.command));
}

const KEYS = {
  " ": go, r: go, k: () => press("keep"), Enter: () => press("keep"), t: () => press("retake"), s: () => press("skip"),
  b: () => press("back"), j: () => press("next"), n: note, h: hear, "?": () => $("keys").showModal(), q: end,
};
document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const onButton = document.activeElement && document.activeElement.tagName === "BUTTON";
  if (onButton && (event.key === "Enter" || event.key === " ")) return; // the button itself is pressed
  const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (action) { event.preventDefault(); action(); }
});
// a button that was clicked does not keep the keyboard
document.addEventListener("click", (event) => { if (event.detail > 0 && document.activeElement.tagName === "BUTTON") document.activeElement.blur(); });
