// The beginning: rooms and their addresses, light and dark, the key where the server asks for one.

import { onKeyNeeded } from "./api.js";
import { startCompare } from "./compare.js";
import { ask, get } from "./dom.js";
import { startFiles } from "./files.js";
import { startLive } from "./live.js";

const ROOMS = ["live", "files", "compare"];

const rooms = { live: startLive(), files: startFiles(), compare: startCompare() };

/** Show the room that the address names; with `move`, let the reader begin at its heading. */
function enter(move) {
  const wanted = location.hash.slice(1);
  if (wanted === "main" && move) return; // the way past the links at the top
  const room = ROOMS.includes(wanted) ? wanted : "live";
  for (const name of ROOMS) {
    if (name !== room && !get(name).hidden) rooms[name].leave?.();
    get(name).hidden = name !== room;
  }
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${room}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  rooms[room].enter?.();
  if (move) get(`${room}-title`).focus({ preventScroll: true });
  if (move) window.scrollTo(0, 0);
}

/** Light and dark: the system's choice until the reader makes one. */
function startTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const dark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const tell = () => get("theme").setAttribute("aria-pressed", dark());
  get("theme").addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try {
      localStorage.setItem("mien-theme", root.dataset.theme);
    } catch {
      // Storage may be forbidden: the choice then lasts as long as the page.
    }
    tell();
  });
  system.addEventListener("change", tell);
  tell();
}

/** Ask for the key: resolves to it, or to null. `refused` says that the last one was wrong. */
function askForKey(refused) {
  get("key-hint").textContent = refused
    ? "The server refused this key. Check it, and try again."
    : "Whoever runs it can give you one. This page does not keep it: the browser gets a cookie "
      + "instead, until it is closed.";
  get("key").value = "";
  return ask("key", () => get("key").value.trim());
}

onKeyNeeded(askForKey);
startTheme();
window.addEventListener("hashchange", () => enter(true));
enter(false);
