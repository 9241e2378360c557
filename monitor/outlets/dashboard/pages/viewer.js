/* A scan as a picture to move about in, over OpenSeadragon. Knows scenes and their tiles, and nothing
   of the page around it: other pages lay their own canvas over it (see `toCanvas`, `toScreen`).

   A scene is what /look/scene.json says. A frame is where scenes are laid upon each other: one unit
   is the width of the first scene, whatever its pixels are. */
"use strict";
(() => {
  const OSD = window.OpenSeadragon;
  const LOADED_S = 20;
  const SMOOTH_BELOW = 0.99;

  /* Where scenes lie: by the camera's frame on the stage, else all at one corner. */
  class Frame {
    constructor(first) {
      this.onStage = first.camera_um !== null;
      this.unit = first.pixel_size_um || 1;
      this.base = first.width * this.unit;
      this.origin = first.camera_um || [0, 0];
    }

    place(scene, shift) {
      const unit = scene.pixel_size_um || this.unit;
      const at = this.onStage && scene.camera_um ? scene.camera_um : this.origin;
      const moved = shift || { across_um: 0, down_um: 0 };
      return {
        x: (at[0] - moved.across_um - this.origin[0]) / this.base,
        y: (at[1] - moved.down_um - this.origin[1]) / this.base,
        width: (scene.width * unit) / this.base,
      };
    }
  }

  const tileAddress = (scene, layer, tone, z, x, y) => {
    const only = scene.only === null ? "" : `&only=${scene.only}`;
    return `/look/tile?reading=${scene.reading}${only}&layer=${layer}&tone=${tone}&z=${z}&x=${x}&y=${y}&of=${scene.of}`;
  };

  const tileSource = (scene, layer, tone) => ({
    width: scene.width, height: scene.height, tileSize: scene.tile, tileOverlap: 0,
    minLevel: 0, maxLevel: scene.halvings,
    getTileUrl: (level, x, y) => tileAddress(scene, layer, tone, scene.halvings - level, x, y),
  });

  const made = (name, classes, text) => {
    const element = document.createElement(name);
    if (classes) element.className = classes;
    if (text !== undefined) element.textContent = text;
    return element;
  };

  const lengthWords = (um) => (um >= 1000 ? `${um / 1000} mm` : `${um} µm`);

  class SceneViewer {
    /* options.drawer: as of OpenSeadragon; options.onMoved: called when the view has changed */
    constructor(options) {
      this.options = options || {};
      this.pane = made("div", "pane");
      const holder = made("div", "osd");
      this.title = made("p", "corner title");
      this.where = made("p", "corner where");
      this.busy = made("p", "corner busy", "reading …");
      this.bar = made("p", "corner bar");
      this.barLine = made("i");
      this.barText = made("span");
      this.bar.append(this.barText, this.barLine);
      this.pane.append(holder, made("div", "cross"), this.title, this.where, this.busy, this.bar);
      this.busy.hidden = true;
      this.where.setAttribute("role", "status");
      this.shown = [];
      this.failed = new Map();
      this.osd = OSD({
        element: holder, showNavigationControl: false, visibilityRatio: 0.2, minZoomImageRatio: 0.6,
        maxZoomPixelRatio: 8, animationTime: 0.35, blendTime: 0, timeout: 60000,
        /* The canvas is the same on every machine; WebGL in software, as on remote desktops, is slow. */
        drawer: this.options.drawer || "canvas",
        gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true }, tileRetryMax: 2, tileRetryDelay: 3000,
        preserveImageSizeOnResize: true, maxImageCacheCount: 400,
      });
      this.osd.addHandler("update-viewport", () => this.moved());
      this.osd.addHandler("tile-load-failed", (event) => this.tileFailed(event));
      this.osd.addHandler("tile-loaded", (event) => this.tileCame(event));
      holder.addEventListener("pointermove", (event) => this.pointed(event));
      holder.addEventListener("pointerleave", () => { this.pointer = null; this.sayWhere(); });
    }

    label(words) { this.osd.canvas.setAttribute("aria-label", words); }

    /* --- showing ------------------------------------------------------------------------- */

    /* Loads a scene out of sight; done once its tiles are there, or that has taken too long. */
    async load(scene, frame, look, shift) {
      const place = frame.place(scene, shift);
      const capture = await this.addImage(tileSource(scene, "capture", look.tone), place);
      const one = { scene, place, capture, over: null, look, wanted: true };
      if (look.layer !== "capture") one.over = await this.addImage(tileSource(scene, look.layer, look.tone), place);
      await this.ready(one);
      return one;
    }

    /* All tiles are there that are seen now. */
    ready(one) { return Promise.all([one.capture, one.over].filter(Boolean).map((image) => this.loaded(image))); }

    addImage(source, place) {
      return new Promise((resolve, reject) => this.osd.addTiledImage({
        tileSource: source, ...place, opacity: 0, preload: true,
        success: (event) => resolve(event.item), error: (event) => reject(new Error(event.message)),
      }));
    }

    loaded(image) {
      if (image.getFullyLoaded()) return Promise.resolve();
      return new Promise((resolve) => {
        const done = () => { image.removeHandler("fully-loaded-change", heard); clearTimeout(late); resolve(); };
        const heard = (event) => { if (event.fullyLoaded) done(); };
        const late = setTimeout(done, LOADED_S * 1000);
        image.addHandler("fully-loaded-change", heard);
      });
    }

    /* The new ones come into sight before the old ones go: nothing flickers. */
    show(ones) {
      const old = this.shown.filter((one) => !ones.includes(one));
      this.shown = ones;
      for (const one of ones) this.setOpacity(one);
      this.osd.forceRedraw();
      requestAnimationFrame(() => requestAnimationFrame(() => old.forEach((one) => this.drop(one))));
      this.drawWords();
      this.moved();
    }

    setOpacity(one) {
      one.capture.setOpacity(1);
      if (one.over) one.over.setOpacity(one.look.opacity / 100);
    }

    drop(one) {
      for (const image of [one.capture, one.over]) if (image && this.osd.world.getIndexOfItem(image) >= 0) this.osd.world.removeItem(image);
      for (const [key, place] of this.failed) if (place.reading === one.scene.reading) this.forget(key);
    }

    /* Another layer over what is shown, in the same unflickering way. */
    async setLook(look) {
      for (const one of this.shown) {
        const before = one.look, old = [];
        one.look = look;
        if (look.tone !== before.tone) {
          const capture = await this.addImage(tileSource(one.scene, "capture", look.tone), one.place);
          await this.loaded(capture);
          old.push(one.capture);
          one.capture = capture;
        }
        if (look.layer !== before.layer || look.tone !== before.tone) {
          let over = null;
          if (look.layer !== "capture") {
            over = await this.addImage(tileSource(one.scene, look.layer, look.tone), one.place);
            await this.loaded(over);
          }
          if (one.over) old.push(one.over);
          one.over = over;
        }
        this.setOpacity(one);
        if (this.onClip) this.onClip();
        requestAnimationFrame(() => requestAnimationFrame(() => old.forEach((image) => this.osd.world.removeItem(image))));
      }
    }

    /* A wipe: of `one` only what lies right of `x`, in the frame's units. */
    clip(one, x) {
      one.clippedAt = x;
      const column = Math.min(Math.max(((x - one.place.x) / one.place.width) * one.scene.width, 0), one.scene.width);
      /* Words stand only on the side where their scan is seen. */
      for (const word of this.words || []) word.element.style.visibility = (word.one === one) === (word.x >= x) ? "" : "hidden";
      for (const image of [one.capture, one.over]) if (image) image.setClip(new OSD.Rect(column, 0, Math.max(one.scene.width - column, 0.01), one.scene.height));
    }

    home() { const box = this.box(); if (box) this.osd.viewport.fitBounds(box); }

    box() {
      let box = null;
      for (const one of this.shown) {
        const own = new OSD.Rect(one.place.x, one.place.y, one.place.width, (one.place.width * one.scene.height) / one.scene.width);
        box = box ? box.union(own) : own;
      }
      return box;
    }

    /* One pixel of the capture is one of the screen. */
    fullSize() {
      const one = this.shown[0];
      if (one) this.osd.viewport.zoomTo(one.scene.width / one.place.width / this.osd.viewport.getContainerSize().x);
    }

    /* --- places -------------------------------------------------------------------------- */

    /* A point of the screen (x, y in the pane) as (column, row) of the scene's canvas, and back. */
    toCanvas(one, x, y) {
      const at = this.osd.viewport.pointFromPixel(new OSD.Point(x, y), true);
      const unit = one.scene.width / one.place.width;
      return [(at.x - one.place.x) * unit - 0.5, (at.y - one.place.y) * unit - 0.5];
    }

    toScreen(one, column, row) {
      const unit = one.place.width / one.scene.width;
      const at = new OSD.Point(one.place.x + (column + 0.5) * unit, one.place.y + (row + 0.5) * unit);
      return this.osd.viewport.pixelFromPoint(at, true);
    }

    /* Pixels of the screen to one of the canvas. */
    zoomOf(one) {
      const across = this.osd.viewport.getContainerSize().x * this.osd.viewport.getZoom(true);
      return (across * one.place.width) / one.scene.width;
    }

    pointed(event) {
      const box = this.osd.element.getBoundingClientRect();
      this.pointer = [event.clientX - box.left, event.clientY - box.top];
      this.sayWhere();
    }

    /* Under the pointer; by keyboard, in the middle. */
    sayWhere() {
      const size = this.osd.viewport.getContainerSize();
      const [x, y] = this.pointer || [size.x / 2, size.y / 2];
      const across = this.osd.viewport.pointFromPixel(new OSD.Point(x, y), true).x;
      const one = this.shown.findLast((shown) => !(across < shown.clippedAt));
      if (!one) { this.where.textContent = ""; return; }
      this.where.textContent = this.placeWords(one, ...this.toCanvas(one, x, y)) + (this.pointer ? "" : " (middle)");
    }

    placeWords(one, column, row) {
      const scene = one.scene;
      let nearest = null, least = Infinity;
      for (const field of scene.fields) {
        const [left, top, width, height] = field.box;
        if (column < left - 0.5 || row < top - 0.5 || column >= left + width - 0.5 || row >= top + height - 0.5) continue;
        const far = (column - left - width / 2) ** 2 + (row - top - height / 2) ** 2;
        if (far < least) { least = far; nearest = field; }
      }
      if (!nearest) return "not imaged";
      const [left, top] = nearest.box;
      const across = Math.round((column + 0.5 - left) / nearest.scale - 0.5), down = Math.round((row + 0.5 - top) / nearest.scale - 0.5);
      if (nearest.words) return `${nearest.name}: ${nearest.words}`;
      const parts = [scene.fields.length > 1 ? nearest.name : "", `pixel ${across}, ${down}`];
      if (scene.to_stage && nearest.on_stage) {
        const [[a, b, c], [d, e, f]] = scene.to_stage;
        parts.push(`stage ${(a * column + b * row + c).toFixed(1)}, ${(d * column + e * row + f).toFixed(1)} µm`);
      }
      return parts.filter(Boolean).join(" · ");
    }

    moved() {
      const one = this.shown[0];
      if (!one) return;
      const zoom = this.zoomOf(one);
      const smooth = zoom < SMOOTH_BELOW;
      if (smooth !== this.smooth) {
        this.smooth = smooth;
        this.osd.drawer.setImageSmoothingEnabled(smooth);
      }
      this.drawBar(one.scene.pixel_size_um, zoom);
      this.sayWhere();
      if (this.options.onMoved) this.options.onMoved(this);
    }

    drawBar(um, zoom) {
      const longest = (120 / zoom) * (um || 1);
      const power = 10 ** Math.floor(Math.log10(longest));
      const length = [5, 2, 1].map((step) => step * power).find((step) => step <= longest * (1 + 1e-9));
      this.barText.textContent = um ? lengthWords(Number(length.toPrecision(1))) : `${Number(length.toPrecision(1))} px`;
      this.barLine.style.width = `${Math.round((length / (um || 1)) * zoom)}px`;
    }

    /* --- what is missing, in doubt, or failed -------------------------------------------------- */

    drawWords() {
      this.osd.clearOverlays();
      this.words = [];
      for (const key of [...this.failed.keys()]) this.failed.delete(key);
      for (const one of this.shown) {
        const unit = one.place.width / one.scene.width;
        for (const field of one.scene.fields) {
          const [left, top, width, height] = field.box;
          const box = new OSD.Rect(one.place.x + left * unit, one.place.y + top * unit, width * unit, height * unit);
          const words = field.words;
          let element = null;
          if (words) element = this.lay("div", "field-words", `${field.name}: ${words}`, box);
          else if (field.doubts.length) element = this.lay("div", "field-doubt", `in doubt: ${field.doubts.join(", ")}`, box);
          if (element) this.words.push({ one, element, x: box.x + box.width / 2 });
        }
      }
    }

    lay(name, classes, text, box) {
      const element = made(name, "laid"), inner = made("div", classes);
      inner.append(made("span", "", text));
      element.append(inner);
      this.osd.addOverlay({ element, location: box });
      return element;
    }

    tileKey(event) { return `${event.tile.cacheKey || ""}|${event.tile.level}|${event.tile.x}|${event.tile.y}`; }

    /* What did not come must not be taken for something dark. */
    tileFailed(event) {
      const one = this.shown.find((shown) => shown.capture === event.tiledImage);
      const key = this.tileKey(event);
      if (!one || this.failed.has(key)) return;
      const { level, x, y } = event.tile, step = one.scene.tile * 2 ** (one.scene.halvings - level), unit = one.place.width / one.scene.width;
      const box = new OSD.Rect(one.place.x + x * step * unit, one.place.y + y * step * unit,
        Math.min(step, one.scene.width - x * step) * unit, Math.min(step, one.scene.height - y * step) * unit);
      this.failed.set(key, { reading: one.scene.reading, element: this.lay("div", "tile-failed", "did not load", box) });
    }

    tileCame(event) { this.forget(this.tileKey(event)); }

    forget(key) {
      const place = this.failed.get(key);
      if (!place) return;
      this.osd.removeOverlay(place.element);
      this.failed.delete(key);
    }
  }

  window.colonywatch = Object.assign(window.colonywatch || {}, { SceneViewer, Frame, made });
})();
