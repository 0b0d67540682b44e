"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const columns = data.columns, labels = data.labels, total = columns.row_id.length, PRINTED = 50;
  const label = (code) => (code < 0 ? "–" : labels[code]);
  const share = (value) => (value === null ? "–" : value.toFixed(2));
  const logits = (value) => (value === null ? "–" : value.toFixed(2));
  const shown = [
    { key: "row_id", name: "Row", number: true, show: String },
    { key: "text", name: "Text", kind: "text", show: String },
    { key: "given", name: "Given", kind: "label", show: label, byName: true },
    { key: "suggested", name: "Suggested", kind: "label suggested", show: label, byName: true },
    { key: "suggestion_confidence", name: "Confidence", number: true, show: share },
    { key: "noise_probability", name: "Wrong with probability", number: true, show: share },
    { key: "score", name: "Score", number: true, show: logits },
    { key: "is_flipped", name: "Flipped (known)", show: (value) => (value ? "yes" : "no") },
  ].filter((column) => column.key in columns);
  const details = [
    ["runner_up", "Runner-up label", label], ["runner_up_share", "its share of the visits", share],
    ["aum", "Average margin (logits)", logits], ["alm", "Label-aware margin (logits)", logits],
    ["confidence", "Mean probability of the given label", share], ["variability", "its standard deviation", share],
    ["correctness", "Predicted as given (share of visits)", share], ["weight", "Weight", share], ["visits", "Visits", String],
  ];
  const byId = (id) => document.getElementById(id);
  const make = (tag, name, text) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== undefined) { const isolated = document.createElement("bdi"); isolated.textContent = text; element.append(isolated); }
    return element;
  };
  // What is searched: made once, so that a keystroke costs one pass over strings.
  const haystack = columns.row_id.map((id, at) =>
    `${id} ${label(columns.given[at])} ${label(columns.suggested[at])} ${columns.text ? columns.text[at] : ""}`.toLowerCase());
  const size = matchMedia("(max-width: 640px)").matches ? 10 : 25;
  const state = { sort: null, descending: false, page: 0, size, rows: [], open: new Set(), printing: false };

  for (const [id, codes] of [["given", columns.given], ["suggested", columns.suggested]]) {
    const used = [...new Set(codes)].filter((code) => code >= 0).sort((a, b) => labels[a].localeCompare(labels[b]));
    for (const code of used) { const option = document.createElement("option"); option.value = String(code); option.textContent = labels[code]; byId(id).append(option); }
  }
  if (!columns.is_issue.some(Boolean)) byId("only-issues").checked = false;

  const select = () => {
    const words = byId("search").value.toLowerCase().trim(), given = byId("given").value, suggested = byId("suggested").value;
    const least = Number(byId("confidence").value) || 0, onlyIssues = byId("only-issues").checked, rows = [];
    for (let at = 0; at < total; at++) {
      if (onlyIssues && !columns.is_issue[at]) continue;
      if (given !== "" && columns.given[at] !== Number(given)) continue;
      if (suggested !== "" && columns.suggested[at] !== Number(suggested)) continue;
      if (least > 0 && !(columns.suggestion_confidence[at] >= least)) continue;
      if (words && !haystack[at].includes(words)) continue;
      rows.push(at);
    }
    if (state.sort) {
      const { key, byName } = state.sort, values = columns[key], sign = state.descending ? -1 : 1;
      const place = byName ? new Map([...labels.keys()].sort((a, b) => labels[a].localeCompare(labels[b])).map((code, rank) => [code, rank])) : null;
      const value = (at) => (place ? place.get(values[at]) ?? null : values[at]);
      const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
      rows.sort((a, b) => {
        const x = value(a), y = value(b);
        if (x === null || y === null) return (x === null) - (y === null) || a - b;  // what is missing stands last
        return sign * compare(x, y) || a - b;
      });
    }
    state.rows = rows; state.page = 0; draw();
  };

  const curve = (margins) => {
    const points = margins.map((value, at) => [at, value]).filter(([, value]) => value !== null);
    if (!points.length) return null;
    const SVG = "http://www.w3.org/2000/svg", svg = document.createElementNS(SVG, "svg");
    const values = points.map(([, value]) => value), low = Math.min(0, ...values), high = Math.max(0, ...values), span = high - low || 1;
    const x = (at) => 8 + (at / Math.max(1, margins.length - 1)) * 284, y = (value) => 80 - ((value - low) / span) * 70;
    svg.setAttribute("viewBox", "0 0 300 90"); svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `Margin by epoch: ${values.map((value) => value.toFixed(1)).join(", ")} logits`);
    const add = (tag, attributes) => { const part = document.createElementNS(SVG, tag); for (const [name, value] of Object.entries(attributes)) part.setAttribute(name, value); svg.append(part); };
    add("line", { x1: 0, x2: 300, y1: y(0), y2: y(0), stroke: "currentColor", "stroke-width": 0.6, "stroke-dasharray": "3 3" });
    add("polyline", { points: points.map(([at, value]) => `${x(at)},${y(value)}`).join(" "), fill: "none", stroke: "currentColor", "stroke-width": 1.8 });
    for (const [at, value] of points) add("circle", { cx: x(at), cy: y(value), r: 3, fill: "currentColor" });
    return svg;
  };

  const detailOf = (at) => {
    const row = make("tr", "detail"), cell = make("td"), list = document.createElement("dl");
    cell.colSpan = shown.length + 1;
    for (const [key, name, show] of details) { const pair = document.createElement("div"); pair.append(make("dt", "", name), make("dd", "", show(columns[key][at]))); list.append(pair); }
    cell.append(list);
    const drawn = columns.margins && columns.margins[at] ? curve(columns.margins[at]) : null;
    if (drawn) { cell.append(make("p", "small", "Margin of the given label, epoch by epoch (logits; dashed: zero)"), drawn); }
    row.append(cell);
    return row;
  };

  const draw = () => {
    const body = byId("table").tBodies[0], pages = Math.max(1, Math.ceil(state.rows.length / state.size));
    const start = state.printing ? 0 : state.page * state.size, visible = state.rows.slice(start, start + (state.printing ? PRINTED : state.size));
    body.replaceChildren();
    for (const at of visible) {
      const row = make("tr", columns.is_issue[at] ? "issue" : "");
      for (const column of shown) {
        const cell = make("td", [column.kind || "", column.number ? "num" : ""].join(" ").trim(), column.show(columns[column.key][at]));
        cell.dataset.name = column.name; row.append(cell);
      }
      const open = make("td", "open"), button = document.createElement("button");
      button.type = "button"; button.textContent = state.open.has(at) ? "less" : "more";
      button.setAttribute("aria-expanded", String(state.open.has(at)));
      button.setAttribute("aria-label", `More about row ${columns.row_id[at]}`);
      button.addEventListener("click", () => { state.open.has(at) ? state.open.delete(at) : state.open.add(at); draw(); document.querySelector(`[data-at="${at}"]`)?.focus(); });
      button.dataset.at = String(at); open.append(button); row.append(open); body.append(row);
      if (state.open.has(at)) body.append(detailOf(at));
    }
    const cut = data.total > total ? ` The file holds the ${total.toLocaleString("en")} most suspicious of ${data.total.toLocaleString("en")} rows.` : "";
    byId("count").textContent = `${state.rows.length.toLocaleString("en")} ${state.rows.length === 1 ? "row" : "rows"}.${cut}` +
      (state.printing && state.rows.length > PRINTED ? ` The first ${PRINTED} are printed.` : "");
    byId("page").textContent = `Page ${state.page + 1} of ${pages.toLocaleString("en")}`;
    byId("previous").disabled = state.page === 0; byId("next").disabled = state.page + 1 >= pages;
    byId("sort").value = state.sort ? `${state.sort.key} ${state.descending ? "down" : "up"}` : "";
    for (const head of byId("table").tHead.querySelectorAll("th[data-key]")) {
      const own = state.sort && state.sort.key === head.dataset.key;
      head.setAttribute("aria-sort", own ? (state.descending ? "descending" : "ascending") : "none");
    }
  };

  const head = document.createElement("tr");
  for (const column of shown) {
    const cell = document.createElement("th"), button = document.createElement("button");
    cell.scope = "col"; cell.dataset.key = column.key; if (column.number) cell.className = "num";
    button.type = "button"; button.textContent = column.name;
    button.addEventListener("click", () => { state.descending = state.sort === column ? !state.descending : false; state.sort = column; select(); });
    cell.append(button); head.append(cell);
    // On a phone there are no heads to press.
    for (const [way, words] of [["up", column.number ? "low first" : "A to Z"], ["down", column.number ? "high first" : "Z to A"]]) {
      const option = document.createElement("option"); option.value = `${column.key} ${way}`; option.textContent = `${column.name}, ${words}`; byId("sort").append(option);
    }
  }
  head.append(make("th", "open", "")); byId("table").tHead.append(head);
  let waiting = 0;
  byId("search").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(select, 120); });
  for (const id of ["given", "suggested", "confidence", "only-issues"]) byId(id).addEventListener("input", select);
  document.querySelector(".controls").addEventListener("submit", (event) => { event.preventDefault(); select(); });
  byId("previous").addEventListener("click", () => { state.page--; draw(); });
  byId("next").addEventListener("click", () => { state.page++; draw(); });
  byId("sort").addEventListener("input", () => {
    const [key, way] = byId("sort").value.split(" ");
    state.sort = shown.find((column) => column.key === key) ?? null; state.descending = way === "down"; select();
  });
  byId("size").value = String(state.size);
  byId("size").addEventListener("input", () => { state.size = Number(byId("size").value); state.page = 0; draw(); });
  // On paper nothing can be opened or turned over: the first rows, and all settings.
  const closed = [];
  addEventListener("beforeprint", () => {
    state.printing = true; draw();
    for (const part of document.querySelectorAll("details:not([open])")) { part.open = true; closed.push(part); }
  });
  addEventListener("afterprint", () => { state.printing = false; draw(); for (const part of closed.splice(0)) part.open = false; });
  byId("theme").addEventListener("click", () => {
    const root = document.documentElement, isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = isDark ? "light" : "dark";
  });
  select();
})();
