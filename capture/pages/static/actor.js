"use strict";
const WORDS = {
  en: { red: "wait", yellow: "ready …", green: "speak", thanks: "Thank you!", neutral: "", angry: "angry",
    disgust: "disgusted", fear: "afraid", happy: "happy", sad: "sad", surprise: "surprised" },
  zh: { red: "请等待", yellow: "准备", green: "请说", thanks: "谢谢！", neutral: "", angry: "生气",
    disgust: "厌恶", fear: "害怕", happy: "高兴", sad: "难过", surprise: "惊讶" },
};
const text = document.getElementById("text"), word = document.getElementById("word");
const emotion = document.getElementById("emotion");
let words = WORDS.en;

link("/ws/actor", (state) => {
  words = WORDS[state.language.split("-")[0]] || WORDS.en;
  set(emotion, state.finished ? "" : words[state.emotion]);
  light(state.finished ? "off" : state.light, state.countdown_s);
  text.lang = state.language;
  if (set(text, state.finished ? words.thanks : state.text)) fit();
}, (gone) => { if (gone) light("red", null); });

function light(color, countdown_s) {
  document.body.dataset.light = color;
  const left = Math.ceil(countdown_s || 0);
  set(word, color === "off" ? "" : color === "yellow" && left > 0 ? String(left) : words[color]);
}

function set(element, value) {
  if (element.textContent === value) return false;
  element.textContent = value;
  return true;
}

// as large as the sentence allows; words are broken only where they would not fit otherwise
function fit() {
  document.body.classList.remove("broken");
  let low = 18, high = Math.round(innerHeight / 4);
  const fits = (size) => {
    text.style.fontSize = `${size}px`;
    return text.scrollHeight <= text.clientHeight && text.scrollWidth <= text.clientWidth;
  };
  if (!fits(low)) { document.body.classList.add("broken"); low = 8; }
  while (high - low > 1) {
    const size = (low + high) >> 1;
    if (fits(size)) low = size; else high = size;
  }
  text.style.fontSize = `${low}px`;
}
addEventListener("resize", fit);

document.addEventListener("click", () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen().catch(() => {});
});
