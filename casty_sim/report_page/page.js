// What a reader can do: zoom, move, filter, search, step, and link to a moment. The address after "#" holds the view:
// t=begin-end in nanoseconds, e=number of the event, l and k=lanes and kinds that are hidden, q=search, o=only matches, a=0 for arrivals that are
// no events of their own.

const $ = (id) => document.getElementById(id);

class Page {
  constructor(data) {
    this.data = data;
    const e = data.events;
    this.state = { shown: new Uint8Array(e.size).fill(1), matched: null, found: [], selected: -1, query: "", only: false };
    this.kindOn = e.kinds.map(() => true);
    this.fateOn = data.fates.map(() => true);
    this.arrivalsOn = true;
    this.layout = new Layout(data);
    this.painter = new Painter(data, this.layout, this.state);
    this.pending = false;
    this.frames = 0;
  }

  start() {
    this.head();
    this.filters();
    this.legend();
    this.controls();
    this.pointer();
    this.keys();
    const resize = () => { this.resize(); };
    new ResizeObserver(resize).observe($("scroll"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.theme());
    addEventListener("hashchange", () => { if (location.hash !== this.written) this.readHash(); });
    addEventListener("beforeprint", () => this.print(true));
    addEventListener("afterprint", () => this.print(false));
    this.theme();
    this.home();
    this.readHash();
    this.details();
    this.resize();
  }

  // -- what it says ---------------------------------------------------------------------------------------------------

  head() {
    const d = this.data;
    $("title").textContent = d.title;
    const verdict = $("verdict");
    verdict.textContent = d.broken ? `broken: ${d.broken.rule}` : "all is well";
    verdict.classList.toggle("bad", !!d.broken);
    $("problem").hidden = !d.broken;
    $("problem").textContent = d.broken ? d.broken.text : "";
    $("replay").hidden = !d.command;
    $("command").textContent = d.command;
    for (const [name, value] of d.facts) {
      const term = document.createElement("dt"), says = document.createElement("dd");
      term.textContent = name;
      says.textContent = value;
      $("fact-list").append(term, says);
    }
    $("traceback").hidden = !d.traceback;
    $("traceback").textContent = d.traceback;
    $("to-broken").disabled = !d.broken;
  }

  legend() {
    const icons = { delivered: "→", delayed: "⇢", duplicated: "⇉", dropped: "✕", unheard: "⤫" };
    const box = $("legend");
    const add = (text, icon, colour) => {
      const item = document.createElement("span"), sign = document.createElement("b");
      sign.textContent = icon;
      sign.style.color = `var(--${colour})`;
      item.append(sign, text);
      box.append(item);
    };
    this.data.fates.forEach((fate, number) => { if (this.data.messages.fate.includes(number)) add(fate, icons[fate], fate); });
    const roles = [...new Set(this.data.roles.role)].map((each) => this.data.strings[each]);
    roles.forEach((role) => add(role, "■", `role${this.painter.roleNumber(role)}`));
    const kinds = new Set([...new Set(this.data.spans.kind)].map((each) => this.data.strings[each]));
    if (kinds.has("down")) add("down", "▨", "down-text");
    if (kinds.has("paused")) add("paused", "▩", "clogged");
    if (kinds.has("cut")) add("link cut", "▮", "cut");
    if (kinds.has("clogged")) add("link clogged", "▬", "clogged");
    if (kinds.has("owns")) add("owns a shard", "▬", "owns");
    const marks = new Set([...new Set(this.data.marks.kind)].map((each) => this.data.strings[each]));
    const signs = [["fault", "▲", "dropped"], ["start", "▶", "good"], ["crash", "✕", "bad"], ["role", "◆", "accent"], ["applies", "●", "good"]];
    for (const [kind, sign, colour] of signs) if (marks.has(kind)) add(kind, sign, colour);
    if (marks.size) add("other mark", "○", "soft");
    if (this.data.logs.size) add("log line", "▪", "soft");
    if (this.data.operations.size) add("operation", "▭", "good");
  }

  filters() {
    const d = this.data, lanes = $("lanes"), kinds = $("kinds");
    const all = (box, list) => {
      const row = document.createElement("div");
      for (const [text, value] of [["All", true], ["None", false]]) {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = text;
        button.addEventListener("click", () => { list().forEach((each) => { each.checked = value; each.dispatchEvent(new Event("change")); }); });
        row.append(button);
      }
      box.append(row);
    };
    const choice = (box, text, count, on, change) => {
      const label = document.createElement("label"), input = document.createElement("input"), number = document.createElement("span");
      input.type = "checkbox";
      input.checked = on;
      input.addEventListener("change", () => { change(input.checked); this.refilter(); });
      number.className = "count";
      number.textContent = count === null ? "" : ` ${count}`;
      label.append(input, ` ${text}`, number);
      box.append(label);
      return input;
    };
    all(lanes, () => this.laneInputs);
    this.laneInputs = d.lanes.map((name, lane) => choice(lanes, lane === 0 ? "world" : name, null, true, (on) => { this.layout.on[lane] = on; }));
    all(kinds, () => this.kindInputs);
    this.kindInputs = d.events.kinds.map(() => null);
    const heading = (text) => { const title = document.createElement("h3"); title.textContent = text; kinds.append(title); };
    heading("What became of messages");
    const counts = d.fates.map(() => 0);
    for (const fate of d.messages.fate) counts[fate]++;
    this.fateInputs = d.fates.map((fate, number) => choice(kinds, fate, counts[number], true, (on) => { this.fateOn[number] = on; }));
    heading("Steps");
    this.arrivalInput = choice(kinds, "arrivals are events too", this.data.messages.took.length, true, (on) => { this.arrivalsOn = on; });
    GROUPS.forEach((group, number) => {
      const members = d.events.kinds.map((kind, k) => [kind, k]).filter(([kind]) => kind.group === number);
      if (!members.length) return;
      heading(group);
      members.sort((a, b) => b[0].count - a[0].count);
      for (const [kind, k] of members) this.kindInputs[k] = choice(kinds, kind.label, kind.count, true, (on) => { this.kindOn[k] = on; });
    });
  }

  // -- what is shown --------------------------------------------------------------------------------------------------

  refilter() {
    const e = this.data.events, { shown, matched, only } = this.state, on = this.layout.on, fate = this.data.messages.fate;
    for (let id = 0; id < e.size; id++) {
      let is = this.kindOn[e.kind[id]] && on[e.lane[id]] && (e.other[id] < 0 || on[e.other[id]]);
      const message = messageOf(this.data, id);
      if (is && message >= 0) is = this.fateOn[fate[message]];
      if (is && e.type[id] === ARRIVAL) is = this.arrivalsOn;
      if (is && only && matched) is = matched[id];
      shown[id] = is ? 1 : 0;
    }
    const hidden = [on.filter((each) => !each).length, this.kindOn.filter((each) => !each).length + this.fateOn.filter((each) => !each).length];
    $("lane-filter").firstElementChild.textContent = `Lanes${hidden[0] ? ` (${hidden[0]} hidden)` : ""}`;
    $("kind-filter").firstElementChild.textContent = `Kinds${hidden[1] ? ` (${hidden[1]} hidden)` : ""}`;
    this.resize();
  }

  search(query, only) {
    const d = this.data, e = d.events, wanted = query.trim().toLowerCase();
    this.state.query = query;
    this.state.only = only;
    this.state.matched = null;
    this.state.found = [];
    if (wanted) {
      const hit = Uint8Array.from(d.strings, (each) => each.toLowerCase().includes(wanted) ? 1 : 0);
      const matched = (this.state.matched = new Uint8Array(e.size));
      for (let id = 0; id < e.size; id++) {
        if (textOf(d, id).some((each) => hit[each])) { matched[id] = 1; this.state.found.push(id); }
      }
    }
    $("matches").textContent = wanted ? `${this.state.found.length} found` : "";
    this.refilter();
  }

  home() {
    const d = this.data, m = d.messages;
    if (!d.broken) { this.layout.show(-d.end * 0.01, d.end * 1.01); return; }
    // Some hundred messages before the violation, and a little of what came after it.
    const before = m.size ? m.at[Math.max(0, lowerBound(m.at, d.broken.at) - 150)] : 0;
    const length = Math.max(d.end / 200, Math.min(d.broken.at - before, d.end));
    this.layout.show(d.broken.at - length, d.broken.at + length * 0.25);
    this.state.selected = d.events.idOf[BROKEN][0];
  }

  resize() {
    const box = $("scroll");
    this.layout.arrange(box.clientWidth, box.clientHeight - 4);
    this.redraw();
  }

  redraw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => { this.pending = false; this.paint(); });
  }

  paint() {
    const began = performance.now(), ratio = Math.min(2, devicePixelRatio || 1), l = this.layout;
    this.painter.draw($("view"), ratio);
    this.painter.overview($("overview"), ratio);
    const step = l.tick(90) / 10;
    $("range").textContent = `${seconds(Math.max(0, l.begin), step)} to ${seconds(Math.min(this.data.end, l.end), step)} s`;
    this.around();
    this.frames++;
    this.frameMs = performance.now() - began;
    clearTimeout(this.writing);
    this.writing = setTimeout(() => this.writeHash(), 150);
  }

  theme(wish) {
    const root = document.documentElement;
    if (wish) root.dataset.chosen = wish;
    root.dataset.theme = root.dataset.chosen || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    this.painter.readColours();
    this.redraw();
  }

  print(is) {
    const root = document.documentElement;
    if (is) {
      root.dataset.theme = "light";
      this.painter.readColours();
      this.layout.arrange(1000, 560);
      this.paint();
      $("facts").open = true;
    } else { this.theme(); this.resize(); }
  }

  // -- the selected event ----------------------------------------------------------------------------------------------

  select(id, bring = true) {
    this.state.selected = id;
    if (id >= 0 && bring) this.bring(this.data.events.at[id]);
    this.details();
    this.redraw();
  }

  bring(at) {
    const l = this.layout, length = l.end - l.begin;
    if (at < l.begin + length * 0.02 || at > l.end - length * 0.02) l.show(at - length / 2, at + length / 2);
  }

  step(direction, sameLane = false, among = null) {
    const e = this.data.events, { shown, selected } = this.state, l = this.layout;
    let id = selected >= 0 ? selected + direction : direction > 0 ? lowerBound(e.at, l.begin) : lowerBound(e.at, l.end) - 1;
    const lane = selected >= 0 ? e.lane[selected] : -1;
    while (id >= 0 && id < e.size) {
      const fits = !sameLane || lane < 0 || e.lane[id] === lane || (!this.arrivalsOn && e.other[id] === lane);
      if (shown[id] && fits && (!among || among[id])) { this.select(id); return; }
      id += direction;
    }
  }

  details() {
    const box = $("details"), d = this.data, e = d.events, id = this.state.selected;
    box.replaceChildren();
    if (id < 0) return;
    const found = describe(d, id), title = document.createElement("h2"), list = document.createElement("dl");
    const message = messageOf(d, id);
    title.textContent = found.what + (e.type[id] === ARRIVAL ? " arrives" : "");
    box.append(title, list);
    const add = (name, value) => {
      if (value === undefined || value === "" || value === null) return;
      const term = document.createElement("dt"), says = document.createElement("dd");
      term.textContent = name;
      if (value instanceof Node) says.append(value); else says.textContent = value;
      list.append(term, says);
    };
    const at = e.at[id];
    add("at", `${seconds(at, 1000)} s`);
    if (message >= 0) {
      const sent = d.messages.at[message];
      add("from", d.lanes[d.messages.from[message]]);
      add("to", d.lanes[d.messages.to[message]]);
      add("fate", found.fate + (found.why ? `: ${found.why}` : ""));
      if (e.type[id] === ARRIVAL) add("sent", this.moment(sent, `${seconds(sent, 1000)} s`, e.idOf[MESSAGE][message]));
      found.arrivals.forEach((each, number) => {
        const arrival = e.idOf[ARRIVAL][d.messages.first[message] + number];
        if (arrival !== id) add("arrives", this.moment(each, `${seconds(each, 1000)} s, ${duration(each - sent)} later`, arrival));
      });
    } else add(d.isClient[e.lane[id]] ? "client" : "host", d.lanes[e.lane[id]]);
    if (found.took !== undefined) add(e.type[id] !== OPERATION ? "for" : found.answered ? "took" : "no answer for", duration(found.took));
    if (found.took > 0) add("until", this.moment(at + found.took, `${seconds(at + found.took, 1000)} s`));
    add("name", found.client);
    add("key", found.key);
    add("verdict", found.verdict);
    if (found.place) add("order", `place ${found.place} in the longest order that fits`);
    add(e.type[id] === OPERATION ? "result" : "text", found.text);
  }

  // A button that goes to an instant, and to the event there if there is one.
  moment(at, text, id = -1) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.title = "Go there";
    button.addEventListener("click", () => {
      if (id >= 0) { this.select(id); return; }
      const half = (this.layout.end - this.layout.begin) / 2;
      this.layout.show(at - half, at + half);
      this.redraw();
    });
    return button;
  }

  // The events before and after the selected one, or those in the middle of the view, as lines.
  around() {
    const e = this.data.events, { shown, selected } = this.state, l = this.layout, count = 22;
    const center = selected >= 0 ? selected : lowerBound(e.at, (l.begin + l.end) / 2);
    const ids = [];
    for (let id = Math.min(center, e.size) - 1, n = 0; id >= 0 && n < count; id--) if (shown[id]) { ids.unshift(id); n++; }
    for (let id = center, n = 0; id < e.size && n < count; id++) if (shown[id]) { ids.push(id); n++; }
    $("around").replaceChildren(...ids.map((id) => this.line(id, id === selected)));
    const current = $("around").querySelector("[aria-current]");
    if (current && this.scrolledTo !== selected) { this.scrolledTo = selected; this.scrollList(current); }
  }

  scrollList(item) {
    const list = $("around"), box = item.getBoundingClientRect(), frame = list.getBoundingClientRect();
    if (box.top < frame.top || box.bottom > frame.bottom) list.scrollTop += box.top - frame.top - frame.height / 2;
  }

  line(id, current) {
    const d = this.data, e = d.events, found = describe(d, id);
    const item = document.createElement("li"), button = document.createElement("button"), time = document.createElement("time");
    if (current) item.setAttribute("aria-current", "true");
    button.type = "button";
    button.tabIndex = current ? 0 : -1;
    time.textContent = seconds(e.at[id], 100000);
    const message = messageOf(d, id), way = e.type[id] === ARRIVAL ? "←" : "→";
    const who = message >= 0 ? `${d.lanes[e.lane[id]]} ${way} ${d.lanes[e.other[id]]}` : d.lanes[e.lane[id]];
    const fate = found.fate && found.fate !== "delivered" ? ` (${found.fate})` : "";
    button.append(time, `${who} ${found.what}${fate}${message >= 0 || !found.text ? "" : `: ${found.text}`}`);
    button.title = found.text;
    if (e.type[id] === BROKEN || found.verdict === "does not fit any order") button.classList.add("bad");
    button.addEventListener("click", () => this.select(id));
    item.append(button);
    return item;
  }

  // -- controls --------------------------------------------------------------------------------------------------------

  zoomBy(factor) {
    const l = this.layout, e = this.data.events, id = this.state.selected;
    const at = id >= 0 && e.at[id] >= l.begin && e.at[id] <= l.end ? e.at[id] : (l.begin + l.end) / 2;
    l.zoom(factor, at);
    this.redraw();
  }

  goTo(what) {
    const d = this.data, l = this.layout;
    if (what === "all") l.show(-d.end * 0.01, d.end * 1.01);
    else if (what === "broken" && d.broken) { this.home(); this.details(); }
    else if (what === "selected" && this.state.selected >= 0) {
      const found = describe(d, this.state.selected), at = d.events.at[this.state.selected];
      const last = Math.max(at, ...(found.arrivals || []), found.took > 0 ? at + found.took : at);
      const length = Math.max(last - at, 2e6);
      l.show(at - length, last + length);
    }
    this.redraw();
  }

  copy(text, button) {
    const before = button.textContent;
    const say = (word) => { button.textContent = word; setTimeout(() => { button.textContent = before; }, 1200); };
    if (!navigator.clipboard) { say("See the address"); return; }
    navigator.clipboard.writeText(text).then(() => say("Copied"), () => say("See the address"));
  }

  controls() {
    $("zoom-in").onclick = () => this.zoomBy(0.5);
    $("zoom-out").onclick = () => this.zoomBy(2);
    $("fit").onclick = () => this.goTo("all");
    $("to-broken").onclick = () => this.goTo("broken");
    $("previous").onclick = () => this.step(-1);
    $("next").onclick = () => this.step(1);
    $("copy-command").onclick = () => this.copy(this.data.command, $("copy-command"));
    $("copy-link").onclick = () => this.copyLink();
    $("theme").onclick = () => this.theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    $("help").onclick = () => this.help();
    $("search").oninput = () => this.search($("search").value, $("only").checked);
    $("only").onchange = () => this.search($("search").value, $("only").checked);
    $("search").onkeydown = (event) => {
      if (event.key === "Enter" && this.state.matched) this.step(event.shiftKey ? -1 : 1, false, this.state.matched);
      if (event.key === "Escape") $("view").focus();
      event.stopPropagation();
    };
    document.addEventListener("click", (event) => {
      for (const each of document.querySelectorAll(".filters details[open]")) if (!each.contains(event.target)) each.open = false;
    });
  }

  copyLink() {
    this.writeHash();
    this.copy(location.href, $("copy-link"));
  }

  help() {
    $("keys").hidden = !$("keys").hidden;
    $("help").setAttribute("aria-expanded", String(!$("keys").hidden));
  }

  keys() {
    const acts = {
      "+": () => this.zoomBy(0.5), "=": () => this.zoomBy(0.5), "-": () => this.zoomBy(2), "0": () => this.goTo("all"),
      ArrowRight: () => this.step(1), ArrowLeft: () => this.step(-1), ArrowDown: () => this.step(1, true), ArrowUp: () => this.step(-1, true),
      a: () => { this.layout.pan(-0.2); this.redraw(); }, d: () => { this.layout.pan(0.2); this.redraw(); },
      b: () => this.goTo("broken"), z: () => this.goTo("selected"), c: () => this.copyLink(), t: () => $("theme").click(),
      "/": () => $("search").focus(), "?": () => this.help(), Escape: () => this.select(-1),
      Home: () => { this.state.selected = -1; this.layout.show(0, this.layout.end - this.layout.begin); this.select(-1); },
      End: () => { const d = this.data.end; this.layout.show(d - (this.layout.end - this.layout.begin), d); this.select(-1); },
    };
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA)$/.test(event.target.tagName)) return;
      const act = acts[event.key] || acts[event.key.toLowerCase()];
      if (!act) return;
      event.preventDefault();
      act();
    });
  }

  pointer() {
    const view = $("view"), l = this.layout;
    view.addEventListener("wheel", (event) => {
      if (event.offsetX < GUTTER) return;
      event.preventDefault();
      const unit = event.deltaMode === 1 ? 16 : 1;
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) l.pan(((event.deltaX || event.deltaY) * unit) / 1000);
      else l.zoom(Math.exp(event.deltaY * unit * 0.002), l.time(event.offsetX));
      this.redraw();
    }, { passive: false });
    let from = null;
    view.addEventListener("pointerdown", (event) => {
      view.focus();
      view.setPointerCapture(event.pointerId);
      from = { x: event.offsetX, begin: l.begin, end: l.end, moved: false, range: event.shiftKey };
    });
    view.addEventListener("pointermove", (event) => {
      if (!from) { this.tip(event); return; }
      const by = event.offsetX - from.x;
      if (Math.abs(by) > 3) from.moved = true;
      if (!from.moved || from.range) return;
      const shift = (by / (l.width - GUTTER - 8)) * (from.end - from.begin);
      l.show(from.begin - shift, from.end - shift);
      this.redraw();
    });
    view.addEventListener("pointerup", (event) => {
      const was = from;
      from = null;
      if (!was) return;
      if (was.range && was.moved) {
        const [a, b] = [l.time(was.x), l.time(event.offsetX)].sort((x, y) => x - y);
        l.show(a, b);
        this.redraw();
      } else if (!was.moved) this.select(this.painter.hit(event.offsetX, event.offsetY), false);
    });
    view.addEventListener("dblclick", (event) => { l.zoom(0.4, l.time(event.offsetX)); this.redraw(); });
    view.addEventListener("pointerleave", () => { $("tip").hidden = true; });
    this.drag($("overview"));
  }

  drag(overview) {
    const l = this.layout;
    let down = false;
    const move = (event) => {
      const at = ((event.offsetX - GUTTER) / (l.width - GUTTER - 8)) * this.data.end, half = (l.end - l.begin) / 2;
      l.show(at - half, at + half);
      this.redraw();
    };
    overview.addEventListener("pointerdown", (event) => { down = true; overview.setPointerCapture(event.pointerId); move(event); });
    overview.addEventListener("pointermove", (event) => { if (down) move(event); });
    overview.addEventListener("pointerup", () => { down = false; });
  }

  tip(event) {
    const tip = $("tip"), id = event.offsetX < GUTTER ? -1 : this.painter.hit(event.offsetX, event.offsetY);
    tip.hidden = id < 0;
    if (id < 0) return;
    const d = this.data, e = d.events, found = describe(d, id);
    const who = e.type[id] === MESSAGE ? `${d.lanes[e.lane[id]]} → ${d.lanes[e.other[id]]}: ` : "";
    const text = found.text && found.text.length > 300 ? `${found.text.slice(0, 300)}…` : found.text;
    tip.textContent = `${seconds(e.at[id], 1000)} s  ${who}${found.what}${found.fate && found.fate !== "delivered" ? `, ${found.fate}` : ""}${found.why ? ` (${found.why})` : ""}${text ? `: ${text}` : ""}`;
    const box = $("stage").getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    tip.style.left = `${Math.max(4, Math.min(x + 14, box.width - tip.offsetWidth - 8))}px`;
    tip.style.top = `${y + 18 + tip.offsetHeight > box.height ? Math.max(2, y - tip.offsetHeight - 10) : y + 18}px`;
  }

  // -- links -----------------------------------------------------------------------------------------------------------

  writeHash() {
    const l = this.layout, s = this.state, parts = [`t=${Math.max(0, Math.round(l.begin))}-${Math.round(l.end)}`];
    const off = (list) => list.map((on, number) => (on ? -1 : number)).filter((each) => each >= 0).join(".");
    if (s.selected >= 0) parts.push(`e=${s.selected}`);
    if (off(l.on)) parts.push(`l=${off(l.on)}`);
    if (off(this.kindOn)) parts.push(`k=${off(this.kindOn)}`);
    if (off(this.fateOn)) parts.push(`f=${off(this.fateOn)}`);
    if (s.query) parts.push(`q=${encodeURIComponent(s.query)}`);
    if (s.only) parts.push("o=1");
    if (!this.arrivalsOn) parts.push("a=0");
    this.written = `#${parts.join("&")}`;
    if (location.hash !== this.written) history.replaceState(null, "", this.written);
  }

  readHash() {
    const asked = new Map(location.hash.slice(1).split("&").filter(Boolean).map((each) => each.split("=")));
    if (!asked.size) return;
    const range = /^(\d+)-(\d+)$/.exec(asked.get("t") || "");
    if (range) this.layout.show(Number(range[1]), Number(range[2]));
    const id = Number(asked.get("e") ?? -1);
    this.state.selected = Number.isInteger(id) && id >= 0 && id < this.data.events.size ? id : -1;
    const off = (name, list, inputs) => {
      const hidden = new Set((asked.get(name) || "").split(".").filter(Boolean).map(Number));
      list.forEach((_, number) => { list[number] = !hidden.has(number); if (inputs[number]) inputs[number].checked = list[number]; });
    };
    off("l", this.layout.on, this.laneInputs);
    off("k", this.kindOn, this.kindInputs);
    off("f", this.fateOn, this.fateInputs);
    try { $("search").value = decodeURIComponent(asked.get("q") || ""); } catch { $("search").value = ""; }
    $("only").checked = asked.get("o") === "1";
    this.arrivalsOn = this.arrivalInput.checked = asked.get("a") !== "0";
    this.search($("search").value, $("only").checked);
    if (this.state.selected >= 0 && !range) this.bring(this.data.events.at[this.state.selected]);
    this.details();
  }
}

readData().then((raw) => {
  const page = new Page(prepare(raw));
  globalThis.report = page;
  page.start();
}).catch((error) => {
  document.querySelector("main").textContent = `This report cannot be shown: ${error}`;
  console.error(error);
});
