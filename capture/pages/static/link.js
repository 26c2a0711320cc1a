"use strict";
// A connection to the recorder that comes back by itself. The recorder speaks twice a second, so silence is a loss too.
const SILENCE_MS = 2500;

function link(path, show, lost) {
  let socket = null, wait = 200, heard = Date.now();
  function open() {
    const mine = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`);
    socket = mine;
    heard = Date.now();
    mine.onmessage = (event) => {
      if (socket !== mine) return;
      heard = Date.now();
      wait = 200;
      lost(false);
      show(JSON.parse(event.data));
    };
    mine.onclose = () => { if (socket === mine) again(); };
  }
  function again() {
    socket = null;
    lost(true);
    setTimeout(open, wait);
    wait = Math.min(wait * 2, 3000);
  }
  setInterval(() => {
    if (!socket || Date.now() - heard < SILENCE_MS) return;
    const silent = socket;
    again();
    silent.close();
  }, 500);
  open();
  return (message) => {
    if (!socket || socket.readyState !== WebSocket.OPEN) return false;
    socket.send(JSON.stringify(message));
    return true;
  };
}

// the token has become a cookie; it need not be read off the screen
if (new URLSearchParams(location.search).has("token")) history.replaceState(null, "", location.pathname);
