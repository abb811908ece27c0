"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const element = (id) => document.getElementById(id);
  const read = (id) => JSON.parse(element(id).textContent);
  const made = (tag, text = "", fields = {}) => Object.assign(document.createElement(tag), { textContent: text }, fields);
  const canDraw = typeof vegaEmbed === "function";
  const how = { renderer: "svg", actions: false, logLevel: 1 }; // errors alone: a layer that a metric leaves empty is none
  const charts = read("page-charts");
  const chooser = element("choose-metric"), kinds = element("choose-pictures"), table = element("runs-table");
  let metric = chooser ? chooser.value : null;
  let page = null; // what rows unfold to: much, and read when it is first asked for
  const data = () => (page ??= read("page-data"));
  const ofRun = (row) => (data().runs || [])[Number(row.dataset.run)] || {};

  // What was looked at is there again when the page is read anew, which it does itself while a sweep runs.
  const KEPT = `lehr report ${location.pathname}`;
  const before = (() => { try { return JSON.parse(sessionStorage.getItem(KEPT)) || {}; } catch { return {}; } })();
  const keep = () => {
    const now = { metric, kind: kinds && kinds.value, y: scrollY, at: Date.now(), hash: location.hash, focus: document.activeElement.id, ...(runs ? runs.state() : {}),
      open: all("details").flatMap((one, i) => (one.open ? [i] : [])) };
    try { sessionStorage.setItem(KEPT, JSON.stringify(now)); } catch { /* nothing can be kept here */ }
  };

  // Not beneath the fingers of who types or clicks: what they do would be lost.
  const every = 1000 * Number(document.body.dataset.refresh || 0), QUIET = 3000;
  let touched = -QUIET;
  const anew = () => { const left = touched + QUIET - performance.now(); if (left > 0) setTimeout(anew, left); else location.reload(); };
  if (every) {
    for (const kind of ["keydown", "input", "pointerdown"]) addEventListener(kind, () => { touched = performance.now(); }, true);
    setTimeout(anew, every);
  }

  // Charts: the still picture is replaced by one that answers to the pointer when it comes near the window.
  const views = new Map(); // name -> Vega's view; null while it is drawn, or where it cannot be
  const stills = new Map(); // name -> [width, height] of the still picture
  const signal = (view, value) => {
    try { if (view.signal("metric") !== value) view.signal("metric", value).runAsync(); } catch { /* it does not hang on a metric */ }
  };
  // The chart in this many pixels; where it is as wide as its still picture, it is the same to the pixel.
  const fitted = (spec, still, room) => {
    if (still <= room) return spec;
    spec.config = { ...spec.config, legend: { ...spec.config.legend, orient: "bottom", direction: "horizontal", columns: 2, gradientLength: Math.min(180, room - 80) } };
    if (spec.spec && typeof spec.columns === "number") {
      spec.columns = Math.max(1, Math.floor((room * spec.columns) / still));
      if (spec.columns === 1 && typeof spec.spec.width === "number") spec.spec.width = Math.min(spec.spec.width, room - 90);
    } else if (typeof spec.width === "number") {
      spec.width = room;
      spec.autosize = { type: "fit-x", contains: "padding" };
    }
    return spec;
  };
  let resizes = 0, resized = 0;
  const refit = (place) => {
    const view = views.get(place.dataset.chart), still = stills.get(place.dataset.chart)[0];
    const was = Math.min(still, Number(place.dataset.room)), is = Math.min(still, place.clientWidth);
    if (!view || Math.abs(was - is) < 2) return;
    views.delete(place.dataset.chart);
    draw(place).then(() => view.finalize());
  };
  const draw = async (place) => {
    const name = place.dataset.chart;
    if (!canDraw || !charts[name] || views.has(name)) return;
    views.set(name, null);
    try {
      const room = place.clientWidth, seen = resizes;
      const spec = fitted(structuredClone(charts[name]), stills.get(name)[0], room);
      for (const param of spec.params || []) if (param.name === "metric" && metric) param.value = metric;
      const shell = document.createElement("div");
      const { view } = await vegaEmbed(shell, spec, how);
      all("svg", shell).forEach((svg) => svg.setAttribute("aria-hidden", "true"));
      place.replaceChildren(shell);
      if (!place.classList.contains("live")) offer(place, name);
      place.classList.add("live");
      place.dataset.room = room;
      views.set(name, view);
      if (metric) signal(view, metric);
      if (runs) view.addEventListener("click", (event, item) => { if (item && again(item.href)) runs.follow(); });
      if (resizes !== seen) refit(place); // the window has changed while it was drawn
    } catch (error) {
      console.error(`chart ${name}: ${error}`); // the still picture stays
    }
  };
  const places = all("[data-chart]");
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { near.unobserve(entry.target); draw(entry.target); }
  }, { rootMargin: "600px" });
  for (const place of places) {
    const svg = place.querySelector("svg");
    const size = ["width", "height"].map((side) => Number(svg && svg.getAttribute(side)) || 0);
    stills.set(place.dataset.chart, size);
    if (canDraw) place.style.minHeight = `${Math.ceil(size[1])}px`; // what comes in its place is as high
    near.observe(place);
  }
  addEventListener("resize", () => {
    resizes += 1;
    clearTimeout(resized);
    resized = setTimeout(() => places.forEach(refit), 200);
  });

  // The chart as a file, on white.
  const offer = (place, name) => {
    for (const button of all(".save button", place.parentElement)) {
      const kind = button.textContent;
      button.addEventListener("click", async () => {
        const view = views.get(name);
        if (!view) return; // it is drawn anew just now
        const ground = view.background();
        try {
          const url = await view.background("white").toImageURL(kind.toLowerCase(), 2);
          made("a", "", { href: url, download: `${name}.${kind.toLowerCase()}` }).click();
        } catch (error) { console.error(`chart ${name}: ${error}`); }
        view.background(ground).runAsync();
      });
    }
  };

  // The metric.
  const choose = (value) => {
    metric = value;
    all("[data-metric]").forEach((part) => { part.hidden = part.dataset.metric !== value; });
    all("[data-column]").forEach((head) => head.classList.toggle("chosen", head.dataset.column === value));
    for (const view of views.values()) if (view) signal(view, value);
  };
  all("details.others").forEach((folded) => { folded.firstElementChild.remove(); folded.replaceWith(...folded.childNodes); });
  if (chooser) {
    if ([...chooser.options].some((option) => option.value === before.metric)) chooser.value = before.metric;
    choose(chooser.value);
    chooser.addEventListener("change", () => { choose(chooser.value); places.forEach(draw); }); // no still picture of another one stays
  }

  const again = (href) => Boolean(href) && href === location.hash && href.startsWith("#unfold="); // which the browser takes for nothing new
  const runs = table && theRuns(table);
  function theRuns(table) {
    const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
    const value = (row, column) => row.cells[column].textContent.trim();
    const number = (text) => (/^-?\d{1,3}(,\d{3})+(\.\d+)?$/.test(text) ? Number(text.replaceAll(",", "")) : text ? Number(text) : NaN);
    const details = (row) => (row.nextElementSibling && row.nextElementSibling.classList.contains("detail") ? row.nextElementSibling : null);
    const words = new Intl.Collator(undefined, { numeric: true });

    // A table of thousands of rows is slow to lay out: the first of them in their order, and the rest when it is asked for.
    const more = made("button", "", { type: "button", className: "more" });
    let most = 300;
    const cut = () => {
      let shown = 0;
      for (const row of rows) {
        const beyond = !row.hidden && (shown += 1) > most, detail = details(row);
        row.classList.toggle("beyond", beyond);
        if (detail) detail.hidden = row.hidden || beyond;
      }
      more.hidden = shown <= most;
      more.textContent = `Show all ${shown.toLocaleString("en")} runs`;
    };
    more.addEventListener("click", () => { most = Infinity; cut(); });
    table.parentElement.after(more);
    cut();

    // Numbers by size before words by letters; what is empty comes last, whichever way is asked for.
    let sorted = null;
    const sort = (column, way) => {
      sorted = [heads[column].dataset.name, way]; // columns may be more the next time
      heads.forEach((head, i) => head.setAttribute("aria-sort", i !== column ? "none" : way > 0 ? "ascending" : "descending"));
      const keyed = rows.map((row) => { const text = value(row, column); return { row, text, number: number(text), detail: details(row) }; });
      keyed.sort((a, b) => {
        if (!a.text || !b.text) return a.text ? -1 : b.text ? 1 : 0;
        const [x, y] = [Number.isNaN(a.number), Number.isNaN(b.number)];
        return way * (x && y ? words.compare(a.text, b.text) : x !== y ? x - y : a.number === b.number ? 0 : a.number < b.number ? -1 : 1);
      });
      rows.splice(0, rows.length, ...keyed.map(({ row }) => row));
      body.remove(); // rows of a table that is in the page are slow to move
      body.append(...keyed.flatMap(({ row, detail }) => (detail ? [row, detail] : [row])));
      cut();
      table.append(body);
    };
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () =>
      sort(column, head.getAttribute("aria-sort") === "ascending" ? -1 : 1)));

    // A row has to have every word, and the value of a column: kl.weight=4, elbo>-30. The last part of a name is enough.
    const filter = element("filter"), said = element("filtered");
    const columnOf = (name) => {
      const names = heads.map((head) => head.dataset.name.toLowerCase());
      const exact = names.indexOf(name);
      return exact >= 0 ? exact : names.findIndex((one) => one.split(/[./]/).pop() === name);
    };
    const test = (word) => {
      const parts = /^([^<>=]+)(<=|>=|=|<|>)(.+)$/.exec(word), column = parts ? columnOf(parts[1]) : -1;
      if (column < 0) return (row) => row.textContent.toLowerCase().includes(word);
      const [, , sign, wanted] = parts, than = number(wanted);
      return (row) => {
        const text = value(row, column).toLowerCase(), is = number(text);
        if (sign === "=") return text === wanted || is === than;
        return sign[0] === "<" ? is < than || (sign === "<=" && is === than) : is > than || (sign === ">=" && is === than);
      };
    };
    const sift = () => {
      const tests = filter.value.toLowerCase().split(/\s+/).filter(Boolean).map(test);
      let shown = 0;
      for (const row of rows) shown += !(row.hidden = !tests.every((has) => has(row)));
      cut();
      said.textContent = tests.length ? `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")} runs` : "";
    };
    filter.addEventListener("input", sift);

    const unfold = (row, open) => {
      const detail = details(row), cell = made("td", "", { colSpan: heads.length });
      row.querySelector(".unfold").setAttribute("aria-expanded", String(open));
      if (detail && !open) detail.remove();
      if (detail || !open) return;
      const holder = made("tr", "", { className: "detail" });
      holder.append(cell);
      row.after(holder);
      fill(cell, ofRun(row));
    };
    body.addEventListener("click", (event) => {
      const button = event.target.closest(".unfold");
      if (button) unfold(button.closest("tr"), button.getAttribute("aria-expanded") !== "true");
    });
    const named = (name) => { const at = (data().runs || []).findIndex((run) => run.name === name); return at < 0 ? null : element(`run-${at}`); };
    const show = (name) => {
      const row = named(name);
      if (!row) return;
      row.hidden = false;
      row.classList.remove("beyond");
      rows.forEach((other) => other.classList.toggle("chosen", other === row));
      unfold(row, true);
      row.scrollIntoView({ block: "nearest" });
      row.querySelector(".unfold").focus({ preventScroll: true });
    };
    const follow = () => {
      if (!location.hash.startsWith("#unfold=")) return;
      try { show(decodeURIComponent(location.hash.slice(8))); } catch { /* not written by lehr */ }
    };
    addEventListener("hashchange", follow);
    document.addEventListener("click", (event) => {
      const place = event.target.closest(".thumbnail"), link = event.target.closest("a");
      if (place) { event.preventDefault(); show(place.dataset.name); }
      else if (link && again(link.getAttribute("href") || link.getAttribute("xlink:href"))) follow();
    });

    if (before.all) { most = Infinity; cut(); }
    const column = before.sorted ? heads.findIndex((head) => head.dataset.name === before.sorted[0]) : -1;
    if (column >= 0) sort(column, before.sorted[1]);
    if (before.filter) { filter.value = before.filter; sift(); if (before.caret) filter.setSelectionRange(...before.caret); }
    for (const name of before.unfolded || []) { const row = named(name); if (row) unfold(row, true); }
    const state = () => {
      const on = document.activeElement, row = on.closest("tr[data-run]"), head = on.closest("th[data-name]");
      return { sorted, filter: filter.value, caret: [filter.selectionStart, filter.selectionEnd], all: most === Infinity,
        unfolded: rows.filter(details).map((row) => ofRun(row).name),
        onRun: row && on.matches(".unfold") ? ofRun(row).name : null, onHead: head ? head.dataset.name : null };
    };
    const focused = () => { // what has no id of its own
      const row = before.onRun && named(before.onRun), head = before.onHead && heads.find((one) => one.dataset.name === before.onHead);
      const button = row ? row.querySelector(".unfold") : head && head.querySelector("button");
      if (button) button.focus({ preventScroll: true });
    };
    return { follow, state, focused };
  }

  // What a row unfolds to. Whatever a run is called or says is text, never markup.
  function fill(cell, run) {
    if (run.error) cell.append(made("p", `${run.state}: ${run.error}`, { className: "error" }));
    if (run.href) { const line = made("p"); line.append(made("a", "Its report", { href: run.href })); cell.append(line); }
    const row = made("div", "", { className: "row" });
    for (const [kind, src] of Object.entries(run.pictures || {})) {
      const figure = made("figure");
      figure.append(made("img", "", { src, alt: `${kind} of ${run.name}` }), made("figcaption", kind));
      row.append(figure);
    }
    if (run.curves && data().curve && canDraw) {
      const figure = made("figure"), place = made("div", "", { className: "curve", role: "img", ariaLabel: `curves of ${run.name}` });
      figure.append(place, made("figcaption", "validation over the training"));
      row.append(figure);
      const values = run.curves.flatMap(([curve, points]) => points.map(([images, value]) => ({ curve, images, value })));
      const shell = made("div"); // it calls itself what it likes
      place.append(shell);
      vegaEmbed(shell, { ...data().curve, data: { values } }, how)
        .catch((error) => console.error(`curves of ${run.name}: ${error}`));
    }
    if (row.childElementCount) cell.append(row);
    else if (!run.error) cell.append(made("p", "It has drawn nothing yet."));
  }

  // Pictures across the grid.
  const picture = () => {
    const byName = new Map((data().runs || []).map((run) => [run.name, run.pictures || {}]));
    for (const place of all(".thumbnail")) {
      const src = (byName.get(place.dataset.name) || {})[kinds.value], image = place.querySelector("img");
      image.hidden = !src;
      image.removeAttribute("height"); // kinds differ in how many tiles they have
      if (src) Object.assign(image, { src, alt: `${kinds.value} of ${place.dataset.name}` });
    }
  };
  if (kinds) {
    kinds.addEventListener("change", picture);
    if (before.kind && before.kind !== kinds.value && [...kinds.options].some((option) => option.value === before.kind)) { kinds.value = before.kind; picture(); }
  }

  for (const i of before.open || []) { const folded = all("details")[i]; if (folded) folded.open = true; }
  // An address with a part of the page in it is followed once, and not each time that the page is read anew.
  const [arrival] = performance.getEntriesByType("navigation");
  const followed = before.hash === location.hash && Boolean(arrival) && arrival.type === "reload";
  if (before.at > Date.now() - 60000) {
    if (before.focus && element(before.focus)) element(before.focus).focus({ preventScroll: true });
    else if (runs) runs.focused();
    if (before.y && (followed || !location.hash)) {
      history.scrollRestoration = "manual"; // the browser does it before rows are unfolded again
      const back = () => scrollTo(0, before.y);
      back();
      Promise.all(places.map(draw)).then(back); // which may have changed what is above
    }
  }
  if (runs && !followed) runs.follow();
  addEventListener("pagehide", keep);
  addEventListener("beforeprint", () => places.forEach(draw));
})();
