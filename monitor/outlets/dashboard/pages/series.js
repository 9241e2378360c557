/* Series to be zoomed and read off, over uPlot. Without it the still plot and the table stand. */
"use strict";
(() => {
  const section = document.getElementById("series");
  if (!section || !window.uPlot) return;
  const place = section.querySelector(".plots");
  const made = (name, classes, text) => {
    const element = document.createElement(name);
    if (classes) element.className = classes;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const percent = (value) => (value === null || value === undefined ? "–" : `${(100 * value).toFixed(value < 0.0995 ? 1 : 0)} %`);
  const shown = { intervals: true, limits: true, events: true, former: false };
  let told = null, charts = [], from = null, to = null, read = null, columns = [];

  const faint = (colour, share) => `color-mix(in srgb, ${colour} ${share}%, transparent)`;

  /* A line breaks where a value is undefined, or where four times as long as usual nothing came. */
  const withGaps = (at, values) => {
    const steps = at.slice(1).map((time, number) => time - at[number]).sort((a, b) => a - b);
    const longest = steps.length ? steps[Math.floor(steps.length / 2)] * 4 : Infinity;
    const x = [], ys = values.map(() => []);
    at.forEach((time, number) => {
      if (number && time - at[number - 1] > longest) { x.push(at[number - 1] + 1); ys.forEach((one) => one.push(null)); }
      x.push(time);
      ys.forEach((one, which) => one.push(values[which][number]));
    });
    return [x, ...ys];
  };

  const tablesOf = (what) => told.dishes.map((dish) => withGaps(dish.at, what === "fraction" ? [dish.fraction, dish.low, dish.high] : [dish.confluence]));

  const lines = (chart, dish, number, offset) => {
    const pen = chart.ctx, colour = style(`--s${number}`);
    pen.save();
    pen.beginPath();
    pen.rect(chart.bbox.left, chart.bbox.top, chart.bbox.width, chart.bbox.height);
    pen.clip();
    const dots = window.devicePixelRatio || 1;
    pen.lineWidth = 1.5 * dots; pen.strokeStyle = colour; pen.fillStyle = style("--panel");
    for (const place of Object.keys(dish.doubts)) {
      const value = dish.fraction[place];
      if (value === null) continue;
      pen.beginPath();
      pen.arc(chart.valToPos(dish.at[place], "x", true), chart.valToPos(value, "y", true), 4 * dots, 0, 7);
      pen.fill(); pen.stroke();
    }
    if (shown.events) for (const event of dish.events) {
      const x = chart.valToPos(event.at, "x", true), is = event.words.startsWith("alert");
      pen.strokeStyle = faint(colour, 60); pen.setLineDash(is ? [] : [4 * dots, 4 * dots]);
      pen.beginPath(); pen.moveTo(x, chart.bbox.top); pen.lineTo(x, chart.bbox.top + chart.bbox.height); pen.stroke();
      pen.setLineDash([]); pen.fillStyle = colour;
      const y = is ? chart.bbox.top + 8 * dots : chart.bbox.top + chart.bbox.height - 8 * dots, up = is ? -1 : 1;
      pen.beginPath(); pen.moveTo(x - 6 * dots, y + 6 * up * dots); pen.lineTo(x + 6 * dots, y + 6 * up * dots); pen.lineTo(x, y - 4 * up * dots); pen.fill();
      pen.fillStyle = style("--panel");
    }
    pen.restore();
  };

  const limits = (chart) => {
    if (!shown.limits) return;
    const pen = chart.ctx, dots = window.devicePixelRatio || 1, same = (name) => new Set(told.dishes.map((dish) => dish.limits[name]));
    pen.save();
    pen.font = `${11 * dots}px system-ui, sans-serif`;
    pen.textAlign = "left"; pen.textBaseline = "bottom";
    for (const [name, dash] of [["alert", [7, 5]], ["clear", [2, 4]], ["critical", [10, 4, 2, 4]]]) for (const level of same(name)) {
      if (level === null) continue;
      const y = chart.valToPos(level, "y", true);
      if (y < chart.bbox.top || y > chart.bbox.top + chart.bbox.height) continue;
      pen.strokeStyle = pen.fillStyle = style("--limit");
      pen.setLineDash(dash.map((one) => one * dots));
      pen.beginPath(); pen.moveTo(chart.bbox.left, y); pen.lineTo(chart.bbox.left + chart.bbox.width, y); pen.stroke();
      pen.fillText(`${name} ${percent(level)}`, chart.bbox.left + 5 * dots, y - 2 * dots);
    }
    pen.restore();
  };

  const axis = (more) => ({ stroke: style("--pale"), grid: { stroke: style("--edge"), width: 1 }, ticks: { stroke: style("--edge") }, font: "12px system-ui, sans-serif", ...more });

  /* Times as in the rest of the pages: of 24 hours, the day before the month. */
  const clock = [
    [31536000, "{YYYY}", null, null, null, null, null, null, 1],
    [2419200, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
    [86400, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
    [60, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
  ];

  const chartOf = (what, height, words) => {
    const tables = tablesOf(what), series = [{}], bands = [];
    told.dishes.forEach((dish, number) => {
      const colour = style(`--s${number}`);
      const many = dish.at.length > 150;
      series.push({ label: dish.shown, stroke: colour, width: 2, points: { show: !many, size: 5, fill: colour }, spanGaps: false });
      if (what === "fraction") {
        for (const end of ["low", "high"]) series.push({ label: end, stroke: "transparent", width: 0, points: { show: false }, spanGaps: false, show: shown.intervals });
        const at = series.length;
        if (shown.intervals) bands.push({ series: [at - 1, at - 2], fill: faint(colour, 16) });
      }
    });
    if (what === "fraction" && shown.former) told.dishes.forEach((dish, number) => dish.former.forEach((former) => {
      tables.push(withGaps(former.at, [former.fraction]));
      series.push({ label: `${dish.shown}, ${former.model}`, stroke: faint(style(`--s${number}`), 70), width: 1.5, dash: [4, 3], points: { show: false } });
    }));
    const holder = made("div", "plot");
    holder.tabIndex = 0;
    holder.setAttribute("role", "img");
    holder.setAttribute("aria-label", `${words}; left and right read off scan by scan, plus and minus zoom, 0 shows all`);
    place.append(holder);
    const zone = told.zone;
    const chart = new uPlot({
      width: holder.clientWidth || 600, height, series, bands,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), zone),
      scales: { x: from === null ? {} : { min: from, max: to }, y: { range: (self, low, high) => [0, Math.min(1, Math.max(what === "fraction" ? 0.05 : 0.1, (high || 0) * 1.08))] } },
      axes: [axis({ values: clock }), axis({ size: 56, values: (self, ticks) => ticks.map((one) => `${+(100 * one).toFixed(1)} %`), label: words, labelSize: 18, labelFont: "12px system-ui, sans-serif" })],
      legend: { show: false },
      cursor: { sync: { key: "series", setSeries: false }, drag: { x: true, y: false, uni: 20 }, points: { size: 8 } },
      hooks: {
        setCursor: [(self) => say(self)],
        setScale: [(self, name) => { if (name === "x") zoomed(self); }],
        drawClear: [],
        draw: what === "fraction" ? [limits, (self) => told.dishes.forEach((dish, number) => lines(self, dish, number))] : [],
      },
    }, uPlot.join(tables, tables.map((table) => table.map(() => 1))), holder);
    holder.addEventListener("keydown", (event) => keyed(event, chart));
    return chart;
  };

  let zooming = false;
  const zoomed = (chart) => {
    if (zooming || !charts.includes(chart)) return;
    zooming = true;
    [from, to] = [chart.scales.x.min, chart.scales.x.max];
    for (const other of charts) if (other !== chart) other.setScale("x", { min: from, max: to });
    zooming = false;
  };

  /* What the scans nearest to the pointer say, of each dish. */
  const say = (chart) => {
    const at = chart.cursor.idx === null || chart.cursor.left < 0 ? null : chart.posToVal(chart.cursor.left, "x");
    read.textContent = "";
    if (at === null) { read.append(made("li", "pale", "Point at the plot to read it off.")); return; }
    told.dishes.forEach((dish, number) => {
      if (!dish.at.length) return;
      let place = dish.at.findIndex((time) => time >= at);
      if (place < 0) place = dish.at.length - 1;
      if (place > 0 && at - dish.at[place - 1] < dish.at[place] - at) place -= 1;
      const item = made("li"), link = made("a", "", dish.shown);
      link.href = `${dish.page}&reading=${dish.reading[place]}`;
      const when = new Intl.DateTimeFormat("en-GB", { timeZone: told.zone, day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" }).format(new Date(dish.at[place] * 1e3));
      const between = dish.low[place] === null ? "" : ` (${percent(dish.low[place])} to ${percent(dish.high[place])})`;
      item.append(made("span", `swatch s${number}`), link, ` ${when}: `, made("b", "", dish.fraction[place] === null ? "no cells" : percent(dish.fraction[place])), `${between}, confluence ${percent(dish.confluence[place])}`);
      if (dish.doubts[place]) item.append(made("span", "why", ` in doubt: ${dish.doubts[place].join(", ")}`));
      const width = chart.scales.x.max - chart.scales.x.min;
      for (const event of dish.events) if (Math.abs(event.at - at) < width / 100) item.append(made("span", "pale", ` · ${event.words}`));
      read.append(item);
    });
  };

  const zoom = (share, middle) => {
    const chart = charts[0], low = chart.scales.x.min, high = chart.scales.x.max;
    const at = middle === undefined ? (low + high) / 2 : middle, width = ((high - low) * share) / 2;
    chart.setScale("x", { min: at - width, max: at + width });
  };
  const whole = () => { const times = told.dishes.flatMap((dish) => dish.at); if (times.length) charts[0].setScale("x", { min: Math.min(...times), max: Math.max(...times) }); };

  const keyed = (event, chart) => {
    const times = chart.data[0], idx = chart.cursor.idx;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) {
      let next = Math.min(Math.max((idx === null || idx === undefined || chart.cursor.left < 0 ? (step > 0 ? -1 : times.length) : idx) + step, 0), times.length - 1);
      while (next > 0 && next < times.length - 1 && !told.dishes.some((dish) => dish.at.includes(times[next]))) next += step;
      chart.setCursor({ left: chart.valToPos(times[next], "x"), top: 10 });
    } else if (event.key === "+") zoom(0.5);
    else if (event.key === "-") zoom(2);
    else if (event.key === "0") whole();
    else return;
    event.preventDefault();
  };

  const draw = () => {
    charts.forEach((chart) => chart.destroy());
    place.querySelectorAll(".plot").forEach((one) => one.remove());
    charts = [];
    const upper = chartOf("fraction", 320, "differentiated, of cells"), lower = chartOf("confluence", 170, "confluence");
    charts = [upper, lower];
  };

  const toggle = (name, words, bar) => {
    const label = made("label"), box = made("input");
    box.type = "checkbox"; box.checked = shown[name];
    box.addEventListener("change", () => { shown[name] = box.checked; draw(); });
    label.append(box, words);
    bar.append(label);
  };

  (async () => {
    const answer = await fetch(section.dataset.from);
    if (!answer.ok) return;
    told = await answer.json();
    section.classList.add("is-live");
    place.hidden = false;
    const bar = made("div", "switches");
    toggle("intervals", "90 % intervals", bar);
    toggle("limits", "limits", bar);
    toggle("events", "alerts and notes", bar);
    if (told.dishes.some((dish) => dish.former.length)) toggle("former", "former models", bar);
    for (const [words, what] of [["+", () => zoom(0.5)], ["−", () => zoom(2)], ["all", whole]]) {
      const one = made("button", "button quiet", words);
      one.type = "button";
      one.setAttribute("aria-label", { "+": "zoom in", "−": "zoom out", all: "show all" }[words]);
      one.addEventListener("click", what);
      bar.append(one);
    }
    read = made("ul", "read");
    read.setAttribute("role", "status");
    place.append(bar, read, made("p", "hint", "Drag to zoom, double click to see all; hollow points are in doubt."));
    draw();
    say(charts[0]);
    section.dataset.ready = "yes";
    let late = 0;
    addEventListener("resize", () => { clearTimeout(late); late = setTimeout(draw, 150); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  })();
})();
