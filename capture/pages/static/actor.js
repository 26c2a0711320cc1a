"use strict";
const WORDS = {
  neutral: "", angry: "angry", disgust: "disgusted", fear: "afraid", happy: "happy", sad: "sad", surprise: "surprised",
};
const LIGHTS = { red: "wait", yellow: "ready …", green: "speak" };
const text = document.getElementById("text"), word = document.getElementById("word");
let shown = "";

link("/ws/actor", (state) => {
  document.body.dataset.light = state.light;
  const count = state.countdown_s === null ? "" : String(Math.ceil(state.countdown_s));
  const said = state.finished ? "" : state.light === "yellow" ? (count && count !== "0" ? count : LIGHTS.yellow) : LIGHTS[state.light];
  if (word.textContent !== said) word.textContent = said;
  document.getElementById("emotion").textContent = state.finished ? "" : WORDS[state.emotion];
  const next = state.finished ? "Thank you!" : state.text;
  if (next !== shown) { shown = next; text.lang = state.language; text.textContent = next; fit(); }
}, (gone) => { if (gone) document.body.dataset.light = "red"; });

// as large as the sentence allows
function fit() {
  let low = 12, high = Math.round(innerHeight / 4);
  while (high - low > 1) {
    const size = (low + high) >> 1;
    text.style.fontSize = `${size}px`;
    if (text.scrollHeight <= text.clientHeight && text.scrollWidth <= text.clientWidth) low = size; else high = size;
  }
  text.style.fontSize = `${low}px`;
}
addEventListener("resize", fit);
