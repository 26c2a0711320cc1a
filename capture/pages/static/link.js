"use strict";
// A connection to the recorder that comes back by itself.
function link(path, show, lost) {
  let socket = null, wait = 200;
  function open() {
    socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`);
    socket.onopen = () => { wait = 200; lost(false); };
    socket.onmessage = (event) => show(JSON.parse(event.data));
    socket.onclose = () => { lost(true); setTimeout(open, wait); wait = Math.min(wait * 2, 3000); };
  }
  open();
  return (message) => {
    if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  };
}
