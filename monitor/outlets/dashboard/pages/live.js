// Keeps a page up to date without flicker: what has not changed stays the element it is.
// Without it pages work as well, and come anew every two minutes.
"use strict";

const EVERY_MS = 10000;
const SLOWEST_MS = 120000;
let mark = document.body.dataset.mark;
let wait = EVERY_MS;
let shownAt = Date.now();

async function look() {
  try {
    if (!document.hidden) {
      const told = await fetch("/changes", { cache: "no-store" });
      if (!told.ok) throw new Error(told.status);
      const now = (await told.json()).mark;
      // Also without news each minute: "3 min ago" goes on.
      if (now !== mark || Date.now() - shownAt > 60000) await renew(now);
      wait = EVERY_MS;
      say("");
    }
  } catch {
    wait = Math.min(2 * wait, SLOWEST_MS);
    say("No connection: what is shown here may be old.");
  }
  setTimeout(look, wait);
}

async function renew(now) {
  if (isBusy()) return;
  const answer = await fetch(location.href, { cache: "no-store" });
  if (!answer.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("main");
  if (!fresh || isBusy()) return;
  await beforehand(fresh);
  morph(document.querySelector("main"), fresh);
  for (const part of ["header nav", "footer"]) {
    const here = document.querySelector(part);
    const there = page.querySelector(part);
    if (here && there) morph(here, there);
  }
  document.title = page.title;
  mark = now;
  shownAt = Date.now();
}

// Nothing moves under the hands of somebody who writes.
function isBusy() {
  const at = document.activeElement;
  const field = at && at.closest("input:not([type=search]), textarea, select");
  const typed = [...document.querySelectorAll("main textarea, main input[name]:not([type=hidden])")];
  return Boolean(field) || typed.some((one) => one.value !== one.defaultValue);
}

// New pictures are there before the old ones go.
function beforehand(fresh) {
  const known = new Set([...document.images].map((one) => one.src));
  const coming = [...fresh.querySelectorAll("img:not([loading=lazy])")].filter((one) => !known.has(one.src));
  const loaded = coming.map((one) => {
    const image = new Image();
    image.src = one.src;
    return image.decode().catch(() => null);
  });
  return Promise.race([Promise.all(loaded), new Promise((done) => setTimeout(done, 5000))]);
}

function morph(here, there) {
  if (here.isEqualNode(there)) return;
  for (const { name } of [...here.attributes]) if (!there.hasAttribute(name)) here.removeAttribute(name);
  for (const { name, value } of there.attributes) if (here.getAttribute(name) !== value) here.setAttribute(name, value);
  const before = [...here.childNodes];
  const named = new Map(before.filter((one) => keyOf(one)).map((one) => [keyOf(one), one]));
  let place = 0;
  for (const next of [...there.childNodes]) {
    const key = keyOf(next);
    let old = key ? named.get(key) : here.childNodes[place];
    if (old && (old.nodeName !== next.nodeName || keyOf(old) !== key)) old = null;
    const at = here.childNodes[place] || null;
    if (!old) {
      here.insertBefore(next, at);
    } else {
      if (old !== at) here.insertBefore(old, at);
      if (old.nodeType === Node.ELEMENT_NODE) morph(old, next);
      else if (old.nodeValue !== next.nodeValue) old.nodeValue = next.nodeValue;
    }
    place += 1;
  }
  while (here.childNodes.length > place) here.lastChild.remove();
}

// Elements that move when the order changes, by what they are of.
function keyOf(one) {
  if (one.nodeType !== Node.ELEMENT_NODE) return "";
  return one.id || one.dataset.key || "";
}

function say(text) {
  let line = document.getElementById("connection");
  if (!line && text) {
    line = document.createElement("p");
    line.id = "connection";
    line.className = "notice warning";
    line.setAttribute("role", "status");
    document.querySelector("main").before(line);
  }
  if (line && line.textContent !== text) line.textContent = text;
  if (line) line.hidden = !text;
}

// Only pages that say so renew themselves; others would lose what somebody is about to do.
if (mark && document.querySelector("[data-live]")) setTimeout(look, EVERY_MS);
