// Keeps an open page true: one stream says that something changed, the page is asked for again, and what differs is
// put in its place. Without this script every page can be read and every form sent all the same.
"use strict";

const connection = document.getElementById("connection");
const pause = document.getElementById("pause");
let paused = false, wanted = false, asking = false, newest = 0;

// Makes `old` like `fresh` with as few changes as possible: who types or has something open is not disturbed.
function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) { old.replaceWith(fresh.cloneNode(true)); return; }
  if (old.nodeType === Node.TEXT_NODE) { if (old.data !== fresh.data) old.data = fresh.data; return; }
  if (old.nodeType !== Node.ELEMENT_NODE) return;
  if (old === document.activeElement && /^(INPUT|SELECT|TEXTAREA)$/.test(old.nodeName)) return;
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const key = (node) => (node.nodeType === Node.ELEMENT_NODE && (node.id || node.dataset.name)) || "";
  const known = new Map([...old.childNodes].filter(key).map((node) => [key(node), node]));
  let at = old.firstChild;
  for (const next of fresh.childNodes) {
    const same = key(next) ? known.get(key(next)) : at && !key(at) ? at : null;
    if (!same) { old.insertBefore(next.cloneNode(true), at); continue; }
    if (same !== at) old.insertBefore(same, at); else at = at.nextSibling;
    morph(same, next);
  }
  while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
}

async function refresh() {
  if (asking || paused || document.hidden) { wanted = true; return; }
  asking = true;
  wanted = false;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "manual" });
    if (answer.type === "opaqueredirect") { location.reload(); return; }
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(part.id);
      if (next) morph(part, next); else if (!answer.ok) part.textContent = "";
    }
    if (!answer.ok) document.getElementById("title").textContent = fresh.getElementById("title").textContent;
    ages();
    filter();
  } catch { connection.textContent = "not connected, trying again"; }
  asking = false;
  if (wanted) refresh();
}

function connect() {
  const stream = new EventSource("/live");
  stream.addEventListener("changed", () => { connection.textContent = "live"; refresh(); });
  stream.onerror = () => {
    connection.textContent = "not connected, trying again";
    // Refused, perhaps since the session has ended: then the page itself is sent to the login.
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => { connect(); refresh(); }, 1000);
  };
}

// Times are absolute in the page; people read how long ago.
function ages() {
  const now = Date.now();
  for (const time of document.querySelectorAll("time[datetime]")) {
    const at = Date.parse(time.dateTime);
    if (Number.isNaN(at)) continue;
    const s = Math.round((now - at) / 1000);
    const ago = Math.abs(s);
    const text = ago < 5 ? "just now" : ago < 60 ? `${ago} s` : ago < 3600 ? `${Math.floor(ago / 60)} min` : ago < 172800 ? `${Math.floor(ago / 3600)} h` : `${Math.floor(ago / 86400)} d`;
    const said = ago < 5 ? text : s >= 0 ? `${text} ago` : `in ${text}`;
    if (time.textContent !== said) time.textContent = said;
    time.title = time.dateTime;
  }
}

function filter() {
  const input = document.querySelector("[data-filter]");
  if (!input) return;
  const text = input.value.toLowerCase();
  for (const row of document.querySelectorAll(`#${input.dataset.filter} tbody tr`)) {
    row.hidden = !(row.dataset.name || "").includes(text);
  }
}

async function follow(log) {
  const search = document.getElementById("log-search"), stop = document.getElementById("log-pause");
  document.getElementById("log-tools").hidden = false;
  let lines = log.textContent.split("\n"), halted = false;
  const draw = () => {
    if (halted) return;
    const text = search.value.toLowerCase();
    const end = log.scrollTop + log.clientHeight >= log.scrollHeight - 20;
    log.textContent = lines.filter((line) => line.toLowerCase().includes(text)).join("\n");
    if (end) log.scrollTop = log.scrollHeight;
  };
  search.addEventListener("input", draw);
  stop.addEventListener("click", () => { halted = !halted; stop.textContent = halted ? "Go on" : "Pause"; draw(); });
  log.scrollTop = log.scrollHeight;
  for (;;) {
    try {
      const answer = await fetch(log.dataset.follow);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const parts = (lines.pop() + value).split("\n");
        lines = lines.concat(parts).slice(-2000);
        draw();
      }
    } catch { /* The instance is gone or the platform away: it is tried again. */ }
    await new Promise((later) => setTimeout(later, 2000));
  }
}

function upload(form) {
  const bar = document.getElementById("upload-progress");
  form.addEventListener("submit", (event) => {
    const fields = new FormData(form), file = fields.get("file");
    if (!file || !file.name) return;
    event.preventDefault();
    bar.hidden = false;
    const path = [fields.get("app"), fields.get("version"), file.name].map(encodeURIComponent).join("/");
    const request = new XMLHttpRequest();
    request.open("PUT", `/v1/repository/${path}`);
    request.upload.onprogress = (e) => { if (e.lengthComputable) bar.value = (100 * e.loaded) / e.total; };
    request.onload = () => {
      bar.hidden = true;
      if (request.status < 300) { form.reset(); refresh(); return; }
      let why = request.statusText;
      try { why = JSON.parse(request.responseText).detail; } catch { /* It was no problem document. */ }
      connection.textContent = `not uploaded: ${why}`;
    };
    request.onerror = () => { bar.hidden = true; connection.textContent = "not uploaded: the connection was cut"; };
    request.send(file);
  });
}

// A slider for the share between two releases; the numbers beside it are what is sent.
const split = document.getElementById("split-form");
const numbers = split ? [...split.querySelectorAll("input[type=number]")] : [];
if (numbers.length === 2) {
  const slider = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 100, step: 0.01, className: "range" });
  slider.setAttribute("aria-label", `Share of ${numbers[1].name.replace("share.", "")} in percent`);
  slider.value = numbers[1].value;
  split.prepend(slider);
  const set = (share) => { numbers[1].value = share; numbers[0].value = Math.round((100 - share) * 100) / 100; slider.value = share; };
  slider.addEventListener("input", () => set(Number(slider.value)));
  numbers[1].addEventListener("input", () => set(Number(numbers[1].value)));
  numbers[0].addEventListener("input", () => { numbers[1].value = Math.round((100 - numbers[0].value) * 100) / 100; slider.value = numbers[1].value; });
}
if (pause) {
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause updates";
    if (!paused && wanted) refresh();
  });
}
document.addEventListener("visibilitychange", () => { if (!document.hidden && wanted) refresh(); });
document.querySelector("[data-filter]")?.addEventListener("input", filter);
const log = document.getElementById("log");
if (log?.dataset.follow) follow(log);
const form = document.getElementById("upload");
if (form) upload(form);
ages();
setInterval(ages, 5000);
connect();
