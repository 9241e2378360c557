/* The page on a scan: a slider over time, two times beside each other, layers; keys for all of it. */
"use strict";
(() => {
  const { SceneViewer, Frame, made } = window.colonywatch;
  const page = document.getElementById("look");
  if (!page || !window.OpenSeadragon) return;
  const live = page.querySelector(".live");
  const when = document.getElementById("when");
  const state = {
    dish: page.dataset.dish, field: page.dataset.field || null,
    reading: Number(page.dataset.reading), other: Number(page.dataset.other) || null, how: page.dataset.how,
    look: { layer: page.dataset.layer, opacity: Number(page.dataset.opacity), tone: page.dataset.tone },
  };
  let stops = null, frame = null, viewers = [], current = null, beside = null, wipeAt = 0.5, syncing = false, turn = 0;
  const scenes = new Map(), ahead = new Map();

  const ask = async (address) => {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`${answer.status}`);
    return answer.json();
  };

  /* --- scenes ------------------------------------------------------------------------------ */

  const sceneOf = (reading) => {
    if (!scenes.has(reading)) {
      const found = (async () => {
        const whole = await ask(`/look/scene.json?reading=${reading}`);
        if (!state.field) return whole;
        const field = whole.fields.find((one) => one.name === state.field && one.number !== null);
        return field ? ask(`/look/scene.json?reading=${reading}&only=${field.number}`) : whole;
      })();
      found.catch(() => scenes.delete(reading));
      scenes.set(reading, found);
      if (scenes.size > 200) scenes.delete(scenes.keys().next().value);
    }
    return scenes.get(reading);
  };

  const shiftTo = async (reading) => {
    const field = state.field ? `&field=${encodeURIComponent(state.field)}` : "";
    try { return await ask(`/look/shift.json?from=${state.reading}&to=${reading}${field}`); } catch { return { shift: null }; }
  };

  /* --- what is built ------------------------------------------------------------------------ */

  const slider = (words) => {
    const box = made("div", "slider"), input = made("input"), ends = made("p", "ends"), line = made("canvas");
    input.type = "range"; input.min = 0; input.step = 1; input.setAttribute("aria-label", words);
    line.setAttribute("aria-hidden", "true");
    ends.append(made("span"), made("span", "", words), made("span"));
    box.append(line, input, ends);
    return { box, input, ends, line };
  };
  const times = slider("scans of this dish"), others = slider("the scan beside it");
  const panes = made("div", "panes"), controls = made("div", "controls");
  const said = made("p", "said"), doubt = made("p", "said in-doubt"), note = made("p", "said pale");
  said.setAttribute("role", "status");
  const button = (text, what, key) => {
    const one = made("button", "", text);
    one.type = "button";
    if (key) one.title = `key: ${key}`;
    one.addEventListener("click", what);
    controls.append(one);
    return one;
  };
  const everyViewer = (what) => () => viewers.forEach(what);
  button("−", everyViewer((one) => one.osd.viewport.zoomBy(1 / 1.5)), "-").setAttribute("aria-label", "zoom out");
  button("+", everyViewer((one) => one.osd.viewport.zoomBy(1.5)), "+").setAttribute("aria-label", "zoom in");
  button("Whole", everyViewer((one) => one.home()), "0");
  button("Full size", everyViewer((one) => one.fullSize()), "1");
  const side = button("Side by side", () => compare(state.how === "side" && state.other ? "one" : "side"), "s");
  const wipe = button("Wipe", () => compare(state.how === "wipe" && state.other ? "one" : "wipe"), "w");
  const playing = button("Play", () => play(), "p");
  const doubtBox = made("label"), doubts = made("input");
  doubts.type = "checkbox"; doubts.checked = true;
  doubtBox.append(doubts, "doubt");
  controls.append(doubtBox);
  const help = made("details"), keys = made("ul");
  help.append(made("summary", "", "Keys"), keys);
  for (const [key, words] of [[", .", "scan before, after"], ["< >", "ten scans back, on"], ["Home End", "first, last scan"],
    ["[ ]", "field before, after"], ["l", "next layer"], ["o", "layer on, off"], ["s w", "side by side, wipe"],
    ["+ − 0 1", "zoom, whole, full size"], ["arrows", "move"], ["p", "play"]]) {
    const item = made("li");
    key.split(" ").forEach((one) => item.append(made("kbd", "", one), " "));
    item.append(words);
    keys.append(item);
  }

  /* --- time --------------------------------------------------------------------------------- */

  const timeWords = (seconds) => new Intl.DateTimeFormat("en-GB", {
    timeZone: stops.zone, day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" }).format(new Date(seconds * 1000));

  const placeOf = (reading) => Math.max(0, stops.readings.indexOf(reading));

  const drawLine = (one) => {
    const canvas = one.line, dots = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width) return;
    canvas.width = width * dots; canvas.height = height * dots;
    const pen = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
    pen.scale(dots, dots);
    const count = stops.readings.length, top = Math.max(0.05, ...stops.fraction.map((value) => value ?? 0));
    const x = (number) => 8 + ((width - 16) * number) / Math.max(1, count - 1);
    const y = (value) => height - 3 - ((height - 8) * value) / top;
    pen.strokeStyle = style.getPropertyValue("--orange"); pen.fillStyle = style.getPropertyValue("--orange"); pen.lineWidth = 1.6;
    pen.beginPath();
    let open = false;
    stops.fraction.forEach((value, number) => {
      if (value === null) { open = false; return; }
      if (open) pen.lineTo(x(number), y(value)); else pen.moveTo(x(number), y(value));
      open = true;
    });
    pen.stroke();
    if (count < 200) stops.fraction.forEach((value, number) => { if (value !== null) { pen.beginPath(); pen.arc(x(number), y(value), 2, 0, 7); pen.fill(); } });
    pen.strokeStyle = style.getPropertyValue("--focus"); pen.lineWidth = 2;
    pen.beginPath(); pen.moveTo(x(Number(one.input.value)), 0); pen.lineTo(x(Number(one.input.value)), height); pen.stroke();
  };

  const setUp = (one, reading) => {
    one.input.max = stops.readings.length - 1;
    one.input.value = placeOf(reading);
    one.ends.children[0].textContent = timeWords(stops.at[0]);
    one.ends.children[2].textContent = timeWords(stops.at[stops.at.length - 1]);
    one.input.setAttribute("aria-valuetext", timeWords(stops.at[placeOf(reading)]));
    drawLine(one);
  };

  /* --- showing ------------------------------------------------------------------------------- */

  const busy = (is) => viewers.forEach((one) => { one.busy.hidden = !is; });

  /* The scan that was asked for last wins; what comes too late is dropped unseen. */
  const go = async (reading) => {
    state.reading = reading;
    const mine = ++turn;
    setUp(times, reading);
    if (stops.at.length) when.textContent = `${timeWords(stops.at[placeOf(reading)])} (${stops.zone})`;
    busy(true);
    try {
      const scene = await sceneOf(reading);
      if (mine !== turn) return;
      if (!frame) frame = new Frame(scene);
      const kept = ahead.get(reading);
      ahead.delete(reading);
      const loaded = kept ? await kept : await viewers[0].load(scene, frame, { ...state.look });
      if (kept) await viewers[0].ready(loaded);
      if (mine !== turn) { viewers[0].drop(loaded); return; }
      if (kept && JSON.stringify(loaded.look) !== JSON.stringify(state.look)) { viewers[0].drop(loaded); return go(reading); }
      current = loaded;
      await showAll(mine);
      tell(scene);
      keepAddress();
      prepare(scene, mine);
    } catch (problem) {
      if (mine === turn) note.textContent = `That scan could not be shown (${problem.message}). Try again.`;
    } finally {
      if (mine === turn) busy(false);
    }
  };

  const showAll = async (mine) => {
    if (!state.other || state.how === "one") {
      beside = null;
      viewers[0].show([current]);
      viewers[0].title.textContent = "";
      return;
    }
    const scene = await sceneOf(state.other);
    const found = await shiftTo(state.other);
    if (mine !== turn) return;
    note.textContent = found.shift
      ? `Registered: the dish lay ${Math.round(Math.hypot(found.shift.across_um, found.shift.down_um))} µm from where it lies beside (likeness ${found.likeness}).`
      : "Not registered: the cells of both are too different, or their places are not known; laid by the stage alone.";
    const on = state.how === "wipe" ? viewers[0] : viewers[1];
    const loaded = await on.load(scene, frame, { ...state.look }, found.shift);
    if (mine !== turn) { on.drop(loaded); return; }
    beside = loaded;
    const names = [current, beside].map((one) => `${one.scene.at} · ${one.scene.said}`);
    if (state.how === "wipe") {
      viewers[0].show([current, beside]);
      viewers[0].title.textContent = `${current.scene.at}  ⇔  ${beside.scene.at}`;
      clipBeside();
    } else {
      viewers[0].show([current]);
      viewers[1].show([beside]);
      viewers.forEach((one, number) => { one.title.textContent = names[number]; });
      follow(viewers[0]);
    }
  };

  const tell = (scene) => {
    said.textContent = scene.said;
    doubt.textContent = scene.in_doubt.length ? `In doubt: ${scene.in_doubt.join("; ")}` : "";
    viewers.forEach((one) => one.label(`Scan of ${scene.at}: ${scene.said}. Arrow keys move, plus and minus zoom.`));
    if (!state.other || state.how === "one") note.textContent = "";
  };

  /* The scans beside this one are read before they are asked for. */
  const prepare = async (scene, mine) => {
    const wanted = [scene.after, scene.before].filter((reading) => reading && stops.readings.includes(reading));
    for (const [reading, kept] of ahead) if (!wanted.includes(reading)) { ahead.delete(reading); kept.then((one) => viewers[0].drop(one), () => {}); }
    for (const reading of wanted) {
      if (mine !== turn || ahead.has(reading)) continue;
      const kept = sceneOf(reading).then((next) => viewers[0].load(next, frame, { ...state.look }));
      kept.catch(() => ahead.delete(reading));
      ahead.set(reading, kept);
      await kept.catch(() => {});
    }
  };

  const forgetAhead = () => { for (const [reading, kept] of ahead) { ahead.delete(reading); kept.then((one) => viewers[0].drop(one), () => {}); } };

  let idle = 0;
  const addressOf = () => {
    const query = new URLSearchParams({ name: state.dish, reading: state.reading });
    if (state.field) query.set("field", state.field);
    if (state.other && state.how !== "one") { query.set("with", state.other); query.set("how", state.how); }
    query.set("layer", state.look.layer); query.set("opacity", state.look.opacity); query.set("tone", state.look.tone);
    return `/look?${query}`;
  };
  const keepAddress = () => {
    history.replaceState(null, "", addressOf());
    clearTimeout(idle);
    idle = setTimeout(rest, 500);
  };

  /* What stands below the picture is of the scan that is shown. */
  const rest = async () => {
    const mine = turn;
    const answer = await fetch(addressOf()).catch(() => null);
    if (!answer || !answer.ok) return;
    const told = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (mine !== turn) return;
    for (const id of ["rest", "when"]) document.getElementById(id).replaceWith(document.importNode(told.getElementById(id), true));
    for (const name of ["first", "before", "after", "last"]) {
      const now = page.querySelector(`[data-go="${name}"]`), next = told.querySelector(`[data-go="${name}"]`);
      if (now && next) now.replaceWith(document.importNode(next, true));
    }
  };

  /* --- two at a time -------------------------------------------------------------------------- */

  const handle = made("button", "handle");
  handle.type = "button";
  handle.setAttribute("aria-label", "border of the wipe; arrow keys move it");

  const clipBeside = () => {
    if (!beside || state.how !== "wipe") return;
    const viewport = viewers[0].osd.viewport, size = viewport.getContainerSize();
    handle.style.left = `${wipeAt * 100}%`;
    viewers[0].clip(beside, viewport.pointFromPixel(new OpenSeadragon.Point(wipeAt * size.x, 0), true).x);
  };

  const follow = (leader) => {
    if (syncing || viewers.length < 2) return;
    syncing = true;
    for (const one of viewers) if (one !== leader) {
      one.osd.viewport.zoomTo(leader.osd.viewport.getZoom(true), null, true);
      one.osd.viewport.panTo(leader.osd.viewport.getCenter(true), true);
    }
    syncing = false;
  };

  const onMoved = (viewer) => { clipBeside(); if (viewer.osd.isMouseOver || viewer === viewers[0]) follow(viewer); };

  const arrange = () => {
    const how = state.other ? state.how : "one", wanted = how === "side" ? 2 : 1;
    while (viewers.length < wanted) {
      const one = new SceneViewer({ onMoved });
      one.onClip = clipBeside;
      viewers.push(one);
      panes.append(one.pane);
    }
    while (viewers.length > wanted) { const one = viewers.pop(); one.osd.destroy(); one.pane.remove(); }
    panes.className = `panes ${how}`;
    if (how === "wipe") viewers[0].pane.append(handle); else handle.remove();
    others.box.hidden = how === "one";
    side.setAttribute("aria-pressed", how === "side");
    wipe.setAttribute("aria-pressed", how === "wipe");
    if (state.other) setUp(others, state.other);
  };

  const compare = (how) => {
    state.how = how;
    if (how !== "one" && !state.other) {
      const place = placeOf(state.reading);
      state.other = stops.readings[place > 0 ? place - 1 : Math.min(1, stops.readings.length - 1)];
    }
    if (how === "one") state.other = null;
    beside = null;
    arrange();
    go(state.reading);
  };

  const drag = (event) => {
    const box = viewers[0].pane.getBoundingClientRect();
    wipeAt = Math.min(Math.max((event.clientX - box.left) / box.width, 0.02), 0.98);
    clipBeside();
  };
  handle.addEventListener("pointerdown", (event) => { handle.setPointerCapture(event.pointerId); event.preventDefault(); });
  handle.addEventListener("pointermove", (event) => { if (handle.hasPointerCapture(event.pointerId)) drag(event); });
  handle.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
    if (!step) return;
    wipeAt = Math.min(Math.max(wipeAt + step, 0.02), 0.98);
    clipBeside();
    event.preventDefault(); event.stopPropagation();
  });

  /* --- choices and keys -------------------------------------------------------------------------- */

  const choose = page.querySelector(".choices");
  const relook = async () => {
    state.look = { layer: choose.layer.value, opacity: Math.min(100, Math.max(0, Number(choose.opacity.value) || 0)), tone: choose.tone.value };
    forgetAhead();
    busy(true);
    await Promise.all(viewers.map((one) => one.setLook({ ...state.look })));
    busy(false);
    keepAddress();
  };
  choose.addEventListener("submit", (event) => event.preventDefault());
  choose.addEventListener("change", (event) => {
    if (event.target.name !== "field") { relook(); return; }
    state.field = event.target.value || null;
    scenes.clear(); forgetAhead();
    frame = null;
    go(state.reading).then(() => viewers.forEach((one) => one.home()));
  });
  const step = (by) => go(stops.readings[Math.min(Math.max(placeOf(state.reading) + by, 0), stops.readings.length - 1)]);
  const nextField = (by) => {
    if (!choose.field) return;
    const list = choose.field;
    list.selectedIndex = (list.selectedIndex + by + list.options.length) % list.options.length;
    list.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const nextLayer = () => { choose.layer.selectedIndex = (choose.layer.selectedIndex + 1) % choose.layer.options.length; relook(); };
  let lastLayer = "outlines";
  const toggleLayer = () => {
    if (choose.layer.value !== "capture") { lastLayer = choose.layer.value; choose.layer.value = "capture"; } else choose.layer.value = lastLayer;
    relook();
  };

  let playingNow = false;
  const play = async () => {
    playingNow = !playingNow;
    playing.setAttribute("aria-pressed", playingNow);
    if (playingNow && placeOf(state.reading) === stops.readings.length - 1) await go(stops.readings[0]);
    while (playingNow && placeOf(state.reading) < stops.readings.length - 1) {
      await step(1);
      await new Promise((done) => setTimeout(done, 350));
    }
    playingNow = false;
    playing.setAttribute("aria-pressed", false);
  };

  const pressed = {
    ",": () => step(-1), ".": () => step(1), "<": () => step(-10), ">": () => step(10), "Home": () => step(-Infinity), "End": () => step(Infinity),
    "[": () => nextField(-1), "]": () => nextField(1), "l": nextLayer, "o": toggleLayer, "p": play,
    "s": () => side.click(), "w": () => wipe.click(), "1": () => viewers.forEach((one) => one.fullSize()),
    "0": () => viewers.forEach((one) => one.home()), "+": () => viewers.forEach((one) => one.osd.viewport.zoomBy(1.5)), "-": () => viewers.forEach((one) => one.osd.viewport.zoomBy(1 / 1.5)),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const what = pressed[event.key];
    if (!what) return;
    event.preventDefault(); event.stopPropagation();
    what();
  }, true);
  times.input.addEventListener("input", () => go(stops.readings[Number(times.input.value)]));
  others.input.addEventListener("input", () => { state.other = stops.readings[Number(others.input.value)]; setUp(others, state.other); go(state.reading); });
  doubts.addEventListener("change", () => viewers.forEach((one) => one.pane.classList.toggle("no-doubt", !doubts.checked)));
  page.querySelector(".times").addEventListener("click", (event) => {
    const link = event.target.closest("[data-go]");
    if (!link || !link.href || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const reading = new URL(link.href).searchParams.get("reading");
    if (stops.readings.includes(Number(reading))) go(Number(reading)); else location.href = link.href;
  });
  addEventListener("resize", () => { [times, others].forEach(drawLine); clipBeside(); });

  /* --- begin --------------------------------------------------------------------------------------- */

  page.classList.add("is-live");
  (async () => {
    stops = await ask(`/look/stops.json?name=${encodeURIComponent(state.dish)}`);
    /* A reading by a former model is no stop of its own: it stands in the place of its scan. */
    if (!stops.readings.includes(state.reading)) {
      const scene = await sceneOf(state.reading);
      let place = stops.at.findIndex((at) => at >= scene.time);
      if (place < 0) place = stops.at.length - 1;
      stops.readings[place] = state.reading;
    }
    live.append(times.box, panes, others.box, controls, said, doubt, note, help);
    live.hidden = false;
    if (stops.all > stops.readings.length) note.textContent = `The newest ${stops.readings.length} of ${stops.all} scans.`;
    arrange();
    await go(state.reading);
    viewers.forEach((one) => one.home());
    page.dataset.ready = "yes";
  })().catch((problem) => { page.classList.remove("is-live"); live.hidden = true; console.error(problem); });
})();
