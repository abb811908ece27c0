"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const charts = read("charts"), data = read("data");
  const chooser = document.getElementById("metric");
  const kept = { get: (k) => { try { return sessionStorage.getItem(location.pathname + k); } catch { return null; } },
                 set: (k, v) => { try { sessionStorage.setItem(location.pathname + k, v); } catch { /* no storage */ } } };
  const views = new Map();
  let metric = chooser ? chooser.value : null;

  // charts: the still picture is replaced when it comes near the window, where the script can draw at all
  const draw = async (place) => {
    const name = place.dataset.chart, spec = structuredClone(charts[name]);
    if (!spec || views.has(name) || typeof vegaEmbed !== "function") return;
    views.set(name, null);
    if (typeof spec.width === "number" && !spec.facet && !spec.hconcat) spec.width = Math.max(180, Math.min(spec.width, place.clientWidth - 130));
    for (const param of spec.params || []) if (param.name === "metric" && metric) param.value = metric;
    const shell = document.createElement("div");
    try {
      const result = await vegaEmbed(shell, spec, { renderer: "svg", actions: { export: true, source: false, compiled: false, editor: false } });
      place.replaceChildren(shell);
      place.classList.add("live");
      place.removeAttribute("role");
      views.set(name, result.view);
      if (metric) signal(result.view, metric);
    } catch (error) {
      console.error(`chart ${name}: ${error}`);
    }
  };
  const signal = (view, value) => {
    try { if (view.signal("metric") !== value) view.signal("metric", value).runAsync(); } catch { /* it does not hang on a metric */ }
  };
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { near.unobserve(entry.target); draw(entry.target); }
  }, { rootMargin: "600px" });
  document.querySelectorAll("[data-chart]").forEach((place) => near.observe(place));
  window.addEventListener("beforeprint", () => document.querySelectorAll("[data-chart]").forEach(draw));

  // the metric
  const choose = (value) => {
    metric = value;
    document.querySelectorAll("[data-metric]").forEach((part) => { part.hidden = part.dataset.metric !== value; });
    document.querySelectorAll("[data-column]").forEach((head) => head.classList.toggle("chosen", head.dataset.column === value));
    for (const view of views.values()) if (view) signal(view, value);
    kept.set("metric", value);
  };
  if (chooser) {
    chooser.addEventListener("change", () => choose(chooser.value));
    const before = kept.get("metric");
    if (before && [...chooser.options].some((option) => option.value === before)) chooser.value = before;
    choose(chooser.value);
  }

  // the runs
  const table = document.getElementById("runs-table");
  if (table) runs(table);

  function runs(table) {
    const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
    const value = (row, column) => row.cells[column].textContent.trim();
    const order = (a, b) => {
      if (!a || !b) return a ? -1 : b ? 1 : 0;
      const [x, y] = [Number(a.replaceAll(",", "")), Number(b.replaceAll(",", ""))];
      return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, undefined, { numeric: true }) : x - y;
    };
    const details = (row) => (row.nextElementSibling && row.nextElementSibling.classList.contains("detail") ? row.nextElementSibling : null);
    heads.forEach((head, column) => {
      const button = head.querySelector("button");
      if (!button) return;
      button.addEventListener("click", () => {
        const way = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        heads.forEach((other) => other.hasAttribute("aria-sort") && other.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
        const keyed = rows.map((row) => [value(row, column), row, details(row)]);
        keyed.sort(([a], [b]) => (a && b ? way : 1) * order(a, b));
        body.append(...keyed.flatMap(([, row, detail]) => (detail ? [row, detail] : [row])));
      });
    });
    const filter = document.getElementById("filter"), said = document.getElementById("filtered");
    const texts = rows.map((row) => {
      const cells = heads.map((head, i) => `${head.textContent.trim()}=${value(row, i)}`);
      return `${row.textContent} ${cells.join(" ")} `.replace(/\s+/g, " ").toLowerCase();
    });
    const sift = () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, i) => {
        const has = words.every((word) => texts[i].includes(word.includes("=") ? `${word} ` : word));
        row.hidden = !has;
        const detail = details(row);
        if (detail) detail.hidden = !has;
        shown += has;
      });
      said.textContent = words.length ? `${shown} of ${rows.length} runs` : "";
    };
    filter.addEventListener("input", sift);
    body.addEventListener("click", (event) => {
      const button = event.target.closest(".unfold");
      if (button) unfold(button.closest("tr"));
    });
    const unfold = (row, only = false) => {
      const button = row.querySelector(".unfold"), open = details(row);
      if (open && !only) { open.remove(); button.setAttribute("aria-expanded", "false"); return; }
      if (open) return;
      button.setAttribute("aria-expanded", "true");
      const detail = document.createElement("tr"), cell = document.createElement("td");
      detail.className = "detail";
      cell.colSpan = heads.length;
      detail.append(cell);
      row.after(detail);
      fill(cell, (data.runs || [])[Number(row.dataset.run)] || {});
    };
    const show = (name) => {
      const at = (data.runs || []).findIndex((run) => run.name === name);
      const row = at < 0 ? null : document.getElementById(`run-${at}`);
      if (!row) return;
      row.hidden = false;
      rows.forEach((other) => other.classList.toggle("chosen", other === row));
      unfold(row, true);
      row.scrollIntoView({ block: "start" });
      row.querySelector(".unfold").focus({ preventScroll: true });
    };
    const follow = () => { if (location.hash.startsWith("#unfold=")) show(decodeURIComponent(location.hash.slice(8))); };
    window.addEventListener("hashchange", follow);
    document.addEventListener("click", (event) => {
      const place = event.target.closest(".thumbnail");
      if (place) { event.preventDefault(); show(place.dataset.name); }
    });
    follow();
  }

  function fill(cell, run) {
    const words = (tag, text) => { const made = document.createElement(tag); made.textContent = text; return made; };
    if (run.error) cell.append(words("p", `${run.state}: ${run.error}`));
    if (run.href) { const link = words("a", "its report"); link.href = run.href; cell.append(link); }
    const row = document.createElement("div");
    row.className = "row";
    cell.append(row);
    for (const [kind, url] of Object.entries(run.pictures || {})) {
      const figure = document.createElement("figure"), image = document.createElement("img");
      image.src = url; image.alt = `${kind} of ${run.name}`; image.style.width = "224px";
      figure.append(image, words("figcaption", kind));
      row.append(figure);
    }
    if (run.curves && data.curve && typeof vegaEmbed === "function") {
      const place = document.createElement("div");
      row.append(place);
      const spec = structuredClone(data.curve);
      spec.data = { values: run.curves.flatMap(([name, points]) => points.map(([images, value]) => ({ curve: name, images, value }))) };
      vegaEmbed(place, spec, { renderer: "svg", actions: false }).catch((error) => console.error(`curves of ${run.name}: ${error}`));
    }
    if (!row.childElementCount && !run.error) cell.append(words("p", "It has drawn nothing yet."));
  }

  // pictures across the grid
  const kinds = document.getElementById("pictures");
  if (kinds) kinds.addEventListener("change", () => {
    const byName = new Map((data.runs || []).map((run) => [run.name, run.pictures || {}]));
    document.querySelectorAll(".thumbnail").forEach((place) => {
      const url = (byName.get(place.dataset.name) || {})[kinds.value], image = place.querySelector("img");
      image.hidden = !url;
      if (url) { image.src = url; image.alt = `${kinds.value} of ${place.dataset.name}`; }
    });
  });
})();
