// Drawing. Up to `ARROWS_MAX` messages are arrows; with more in view each lane shows how many were sent, and how many of
// them were lost. Marks that would fall on the same pixel are drawn once. So a frame costs about the same at any zoom.

const ARROWS_MAX = 5000, LABELS_MAX = 70, COLUMN = 3;
const FATE_DASH = { delivered: [], delayed: [7, 4], duplicated: [9, 2, 2, 2], dropped: [], unheard: [2, 3] };
const KNOWN_ROLES = { leader: 0, candidate: 1, "pre-candidate": 1, follower: 2, member: 2, alive: 2, learner: 3, seeking: 4,
  leaving: 6, suspect: 1, left: 5, departed: 5, expelled: 5, up: 2 };

class Painter {
  constructor(data, layout, state) {
    this.data = data;
    this.layout = layout;
    this.state = state;
    this.colours = {};
    this.roleNumbers = new Map();
    this.hits = [];
    this.mode = "arrows";
  }

  readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["back", "panel", "line", "text", "soft", "accent", "bad", "good", "lane", "grid", "delivered", "delayed",
      "duplicated", "dropped", "unheard", "down", "down-text", "paused", "cut", "clogged", "owns", "suspects", "plate",
      ...[0, 1, 2, 3, 4, 5, 6].flatMap((each) => [`role${each}`, `on${each}`])]) {
      this.colours[name] = style.getPropertyValue(`--${name}`).trim();
    }
    this.hatches = { down: this.hatch(this.colours.down, 6, true), paused: this.hatch(this.colours.paused, 5, false) };
  }

  hatch(colour, size, solid) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = size;
    const pen = tile.getContext("2d");
    pen.strokeStyle = colour;
    pen.lineWidth = solid ? 2 : 1.6;
    pen.beginPath();
    pen.moveTo(0, size); pen.lineTo(size, 0);
    pen.moveTo(-size / 2, size / 2); pen.lineTo(size / 2, -size / 2);
    pen.moveTo(size / 2, size * 1.5); pen.lineTo(size * 1.5, size / 2);
    if (!solid) { pen.moveTo(0, 0); pen.lineTo(size, size); }
    pen.stroke();
    return tile;
  }

  roleNumber(role) {
    if (role in KNOWN_ROLES) return KNOWN_ROLES[role];
    if (!this.roleNumbers.has(role)) this.roleNumbers.set(role, (this.roleNumbers.size + 3) % 7);
    return this.roleNumbers.get(role);
  }

  draw(canvas, ratio) {
    const l = this.layout, pen = canvas.getContext("2d");
    canvas.width = Math.round(l.width * ratio);
    canvas.height = Math.round(l.height * ratio);
    canvas.style.height = `${l.height}px`;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.font = '11px system-ui, "DejaVu Sans", sans-serif';
    pen.textBaseline = "middle";
    this.pen = pen;
    this.hits = [];
    this.plates = [];
    pen.fillStyle = this.colours.back;
    pen.fillRect(0, 0, l.width, l.height);
    this.lanes();
    pen.save();
    pen.beginPath();
    pen.rect(GUTTER, 0, l.width - GUTTER, l.height);
    pen.clip();
    this.axis();
    this.spans(["down", "paused", "owns"]);
    this.messages();
    this.roles();
    this.spans(["other"]);
    this.reasons();
    this.operations();
    this.names();
    this.marks();
    this.broken();
    this.selected();
    pen.restore();
    this.labels();
  }

  lanes() {
    const { pen, layout: l, colours: c } = this;
    for (const each of l.lanes) {
      if (!each) continue;
      if (each.lane % 2 === 0) { pen.fillStyle = c.lane; pen.fillRect(0, each.top, l.width, each.height); }
      pen.fillStyle = c.line;
      pen.fillRect(0, each.top + each.height - 1, l.width, 1);
    }
  }

  labels() {
    const { pen, layout: l, colours: c, data: d } = this;
    pen.fillStyle = c.line;
    pen.fillRect(GUTTER - 1, 0, 1, l.height);
    for (const each of l.lanes) {
      if (!each) continue;
      pen.fillStyle = each.isHost ? c.text : c.soft;
      pen.font = each.isHost ? 'bold 12px system-ui, "DejaVu Sans", sans-serif' : '11px system-ui, "DejaVu Sans", sans-serif';
      const y = each.isHost ? each.middle : each.top + Math.min(each.height / 2, 12);
      pen.fillText(each.lane === 0 ? "world" : d.lanes[each.lane], 10, y, GUTTER - 16);
    }
    pen.font = '11px system-ui, "DejaVu Sans", sans-serif';
  }

  axis() {
    const { pen, layout: l, colours: c } = this;
    const step = l.tick(90);
    pen.fillStyle = c.grid;
    const first = Math.ceil(Math.max(0, l.begin) / step) * step;
    for (let at = first; at <= Math.min(l.end, this.data.end); at += step) pen.fillRect(Math.round(l.x(at)), AXIS - 5, 1, l.height);
    pen.fillStyle = c.soft;
    for (let at = first; at <= Math.min(l.end, this.data.end); at += step) pen.fillText(`${seconds(at, step)} s`, l.x(at) + 3, 11);
    for (const each of l.lanes) {
      if (!each || !each.isHost) continue;
      pen.fillStyle = c.line;
      pen.fillRect(l.x(0), each.middle - 0.5, l.x(this.data.end) - l.x(0), 1);
    }
    pen.fillStyle = c.down;
    const over = l.x(this.data.end);
    if (over < l.width) pen.fillRect(over, AXIS, 1.5, l.height);
  }

  visibleSpan(at, took) {
    const l = this.layout, until = at + took;
    if (until < l.begin || at > l.end) return null;
    const left = Math.max(GUTTER - 4, l.x(at)), right = Math.min(l.width + 4, l.x(until));
    return { left, width: Math.max(1, right - left) };
  }

  // What lies behind the arrows, and what lies on them.
  spans(passes) {
    const { pen, data: d, layout: l, colours: c, state } = this, s = d.spans, e = d.events, stacks = d.rowsOf;
    for (const pass of passes) {
      for (let i = 0; i < s.size; i++) {
        const kind = d.strings[s.kind[i]];
        if ((kind === "down" || kind === "paused" || kind === "owns" ? kind : "other") !== pass) continue;
        const lane = l.lanes[s.lane[i]], id = e.idOf[SPAN][i];
        if (!lane || !state.shown[id]) continue;
        const box = this.visibleSpan(s.at[i], s.took[i]);
        if (!box) continue;
        if (pass === "other" || pass === "owns") { this.strip(i, id, kind, lane, box, stacks); continue; }
        pen.fillStyle = pen.createPattern(this.hatches[kind], "repeat");
        pen.fillRect(box.left, lane.top, box.width, lane.height - 1);
        this.hits.push([box.left, lane.band - 3, box.width, BAND + 6, id]);
      }
    }
  }

  // Why a host is down, or that it is paused: over the arrows.
  reasons() {
    const { data: d, layout: l, colours: c, state } = this, s = d.spans;
    for (let i = 0; i < s.size; i++) {
      const kind = d.strings[s.kind[i]], lane = l.lanes[s.lane[i]];
      if ((kind !== "down" && kind !== "paused") || !lane || !state.shown[d.events.idOf[SPAN][i]]) continue;
      const box = this.visibleSpan(s.at[i], s.took[i]);
      if (!box || box.width < 34) continue;
      const y = kind === "down" ? lane.middle : lane.top + lane.height - 9;
      this.plate(kind === "down" ? d.strings[s.text[i]] : "paused", box.left + 4, y, c["down-text"], box.width - 6);
    }
  }

  strip(i, id, kind, lane, box, stacks) {
    const { pen, data: d, colours: c } = this, s = d.spans;
    const wides = Math.min(5, stacks.wide.count[s.lane[i]]);
    if (kind === "owns") {
      const row = stacks.thin.row[i] % 8, y = lane.band + BAND + 2 + wides * WIDE + row * THIN;
      pen.fillStyle = c.owns;
      pen.fillRect(box.left, y, box.width - 0.5, THIN - 1);
      this.hits.push([box.left, y, box.width, THIN, id]);
      return;
    }
    const row = stacks.wide.row[i] % 5, y = lane.band + BAND + 2 + row * WIDE, colour = c[kind] || c.suspects;
    pen.fillStyle = c.back;
    pen.fillRect(box.left, y, box.width, WIDE - 2);
    pen.globalAlpha = 0.22;
    pen.fillStyle = colour;
    pen.fillRect(box.left, y, box.width, WIDE - 2);
    pen.globalAlpha = 1;
    pen.fillRect(box.left, y + WIDE - 3, box.width, 1.5);
    if (kind === "cut") for (let x = box.left; x < box.left + box.width - 2; x += 8) pen.fillRect(x, y, 2, WIDE - 3);
    if (box.width > 40) this.clipped(d.strings[s.text[i]], box.left + 3, y + WIDE / 2 - 1, c.text, box.width - 6);
    this.hits.push([box.left, y, box.width, WIDE, id]);
  }

  clipped(text, x, y, colour, width) {
    const pen = this.pen;
    const left = Math.max(x, GUTTER + 3);
    if (width - (left - x) < 20) return;
    pen.save();
    pen.beginPath();
    pen.rect(left, y - 8, width - (left - x), 16);
    pen.clip();
    pen.font = '10px system-ui, "DejaVu Sans", sans-serif';
    const wide = pen.measureText(text).width;
    pen.fillStyle = this.colours.plate;
    pen.fillRect(left - 1, y - 5, wide + 2, 10);
    pen.fillStyle = colour;
    pen.fillText(text, left, y);
    pen.restore();
  }

  plate(text, x, y, colour, width) {
    const pen = this.pen, left = Math.max(x, GUTTER + 3), room = width - (left - x);
    if (room < 20) return;
    pen.save();
    pen.beginPath();
    pen.rect(left, y - 8, room, 16);
    pen.clip();
    const wide = pen.measureText(text).width;
    pen.fillStyle = this.colours.plate;
    pen.fillRect(left - 2, y - 7, wide + 4, 14);
    pen.fillStyle = colour;
    pen.fillText(text, left, y);
    pen.restore();
  }

  roles() {
    const { pen, data: d, layout: l, colours: c, state } = this, r = d.roles, e = d.events;
    for (let i = 0; i < r.size; i++) {
      const lane = l.lanes[r.lane[i]], id = e.idOf[ROLE][i], box = this.visibleSpan(r.at[i], r.took[i]);
      if (!lane || !box || !state.shown[id]) continue;
      const role = d.strings[r.role[i]], number = this.roleNumber(role), more = d.strings[r.text[i]];
      pen.fillStyle = c[`role${number}`];
      pen.fillRect(box.left, lane.band, box.width - 0.5, BAND);
      if (box.width > 46) this.inBand(role + (more && box.width > 90 ? `, ${more}` : ""), box, lane, c[`on${number}`]);
      this.hits.push([box.left, lane.band, box.width, BAND, id]);
    }
  }

  inBand(text, box, lane, colour) {
    const pen = this.pen, left = Math.max(box.left, GUTTER) + 4;
    if (box.left + box.width - left < 20) return;
    pen.save();
    pen.beginPath();
    pen.rect(left, lane.band, box.left + box.width - left - 2, BAND);
    pen.clip();
    pen.fillStyle = colour;
    pen.fillText(text, left, lane.middle + 0.5);
    pen.restore();
  }

  operations() {
    const { pen, data: d, layout: l, colours: c, state } = this, o = d.operations, e = d.events, row = d.rowsOf.operations.row;
    for (let i = 0; i < o.size; i++) {
      const lane = l.lanes[o.lane[i]], id = e.idOf[OPERATION][i], box = this.visibleSpan(o.at[i], o.took[i]);
      if (!lane || !box || !state.shown[id]) continue;
      const verdict = d.verdicts[o.verdict[i]], y = lane.top + 4 + (row[i] % 6) * OPERATION_ROW, height = OPERATION_ROW - 3;
      const colour = verdict === "does not fit any order" ? c.bad : verdict === "no order exists" ? c.dropped : verdict === "linearizable" ? c.good : c.soft;
      pen.globalAlpha = 0.25;
      pen.fillStyle = colour;
      pen.fillRect(box.left, y, box.width, height);
      pen.globalAlpha = 1;
      pen.strokeStyle = colour;
      pen.lineWidth = verdict === "does not fit any order" ? 2 : 1;
      pen.setLineDash(o.answered[i] ? [] : [4, 3]);
      pen.strokeRect(box.left + 0.5, y + 0.5, Math.max(0.5, box.width - 1), height - 1);
      pen.setLineDash([]);
      const result = d.strings[o.result[i]];
      if (box.width > 40) this.clipped(d.strings[o.text[i]] + (result ? ` = ${result}` : ""), box.left + 3, y + height / 2, c.text, box.width - 5);
      this.hits.push([box.left, y, box.width, height, id]);
    }
  }

  messages() {
    const { data: d, layout: l, state } = this, m = d.messages;
    const low = lowerBound(m.at, l.begin), high = lowerBound(m.at, l.end);
    if (high - low > ARROWS_MAX && this.countShown(low, high) > ARROWS_MAX) { this.mode = "density"; this.density(low, high); return; }
    this.mode = "arrows";
    const byFate = d.fates.map(() => []);
    underWay(m, l.begin, l.end, (i) => {
      if (state.shown[d.events.idOf[MESSAGE][i]] && l.lanes[m.from[i]] && l.lanes[m.to[i]]) byFate[m.fate[i]].push(i);
    });
    const heads = byFate.reduce((sum, each) => sum + each.length, 0) < 900;
    this.arrows = byFate.flat();
    byFate.forEach((found, fate) => this.fate(d.fates[fate], found, heads));
  }

  names() {
    if (this.mode === "arrows" && this.arrows.length <= LABELS_MAX) this.arrows.forEach((i) => this.name(i));
  }

  countShown(low, high) {
    const shown = this.state.shown, id = this.data.events.idOf[MESSAGE];
    let count = 0;
    for (let i = low; i < high; i++) count += shown[id[i]];
    return count;
  }

  // The ends of a message on the canvas: of each arrival, or of the stub of one that was lost.
  lines(i) {
    const { data: d, layout: l } = this, m = d.messages, found = [];
    const from = l.lanes[m.from[i]], to = l.lanes[m.to[i]], x = l.x(m.at[i]);
    const down = to.middle >= from.middle ? 1 : -1, start = from.middle + down * (BAND / 2), end = to.middle - down * (BAND / 2);
    for (let k = m.first[i]; k < m.first[i + 1]; k++) found.push([x, start, l.x(m.at[i] + m.took[k]), end]);
    if (!found.length) found.push([x, start, x + 9, start + Math.sign(end - start) * Math.min(22, Math.abs(end - start) * 0.45)]);
    return found;
  }

  fate(name, found, heads) {
    const { pen, colours: c } = this;
    pen.strokeStyle = pen.fillStyle = c[name];
    pen.lineWidth = name === "delivered" ? 0.9 : 1.3;
    pen.setLineDash(FATE_DASH[name]);
    pen.globalAlpha = found.length > 1500 ? 0.3 : found.length > 300 ? 0.45 : found.length > 100 ? 0.65 : name === "delivered" ? 0.8 : 1;
    pen.beginPath();
    for (const i of found) for (const [x0, y0, x1, y1] of this.lines(i)) { pen.moveTo(x0, y0); pen.lineTo(x1, y1); }
    pen.stroke();
    pen.setLineDash([]);
    pen.globalAlpha = 1;
    if (name === "dropped" || name === "unheard") {
      pen.lineWidth = 1.5;
      pen.beginPath();
      for (const i of found) for (const [, , x, y] of this.lines(i)) { pen.moveTo(x - 3, y - 3); pen.lineTo(x + 3, y + 3); pen.moveTo(x + 3, y - 3); pen.lineTo(x - 3, y + 3); }
      pen.stroke();
    } else if (heads) {
      pen.beginPath();
      for (const i of found) for (const line of this.lines(i)) this.head(...line);
      pen.fill();
    }
  }

  head(x0, y0, x1, y1) {
    const angle = Math.atan2(y1 - y0, x1 - x0), size = 6, pen = this.pen;
    pen.moveTo(x1, y1);
    pen.lineTo(x1 - size * Math.cos(angle - 0.4), y1 - size * Math.sin(angle - 0.4));
    pen.lineTo(x1 - size * Math.cos(angle + 0.4), y1 - size * Math.sin(angle + 0.4));
  }

  // The kind of a message beside its arrow, where there is room.
  name(i) {
    const { pen, data: d, layout: l, colours: c } = this;
    const [x0, y0, x1, y1] = this.lines(i)[0], text = d.strings[d.messages.kind[i]];
    pen.font = '10px system-ui, "DejaVu Sans", sans-serif';
    const width = pen.measureText(text).width;
    for (const part of [0.5, 0.3, 0.7, 0.2, 0.85]) {
      const x = x0 + (x1 - x0) * part + 4, y = y0 + (y1 - y0) * part;
      if (x < GUTTER || x + width > l.width) continue;
      if (this.plates.some(([a, b, w]) => x < a + w && a < x + width && Math.abs(b - y) < 12)) continue;
      this.plates.push([x, y, width]);
      pen.fillStyle = c.plate;
      pen.fillRect(x - 1, y - 6, width + 2, 12);
      pen.fillStyle = c.text;
      pen.fillText(text, x, y);
      break;
    }
    pen.font = '11px system-ui, "DejaVu Sans", sans-serif';
  }

  density(low, high) {
    const { pen, data: d, layout: l, colours: c, state } = this, m = d.messages, id = d.events.idOf[MESSAGE];
    const columns = Math.ceil((l.width - GUTTER) / COLUMN) + 1;
    const sent = l.lanes.map((each) => each && new Int32Array(columns)), lost = l.lanes.map((each) => each && new Int32Array(columns));
    const scale = (l.width - GUTTER - 8) / (l.end - l.begin) / COLUMN;
    const isLost = d.fates.map((each) => each === "dropped" || each === "unheard");
    let most = 1;
    this.arrows = [];
    for (let i = low; i < high; i++) {
      const lane = m.from[i];
      if (!sent[lane] || !state.shown[id[i]]) continue;
      const column = ((m.at[i] - l.begin) * scale) | 0;
      most = Math.max(most, ++sent[lane][column]);
      if (isLost[m.fate[i]]) lost[lane][column]++;
    }
    for (const each of l.lanes) {
      if (!each || !sent[each.lane]) continue;
      const room = each.top + each.height - 3 - (each.band + BAND), base = each.top + each.height - 2;
      for (const [counts, colour] of [[sent[each.lane], c.delivered], [lost[each.lane], c.dropped]]) {
        pen.fillStyle = colour;
        for (let k = 0; k < columns; k++) {
          if (counts[k]) { const height = Math.max(1.5, (counts[k] / most) * room); pen.fillRect(GUTTER + k * COLUMN, base - height, COLUMN - 0.5, height); }
        }
      }
    }
  }

  marks() {
    const { pen, data: d, layout: l, colours: c, state } = this, e = d.events;
    const taken = l.lanes.map(() => new Map());
    const one = (table, type, i) => {
      const id = e.idOf[type][i], lane = l.lanes[table.lane[i]];
      if (!lane || !state.shown[id]) return;
      const x = l.x(table.at[i]), kind = e.kind[id], key = kind * 100000 + Math.round(x / 2);
      if (taken[table.lane[i]].has(key)) return;
      taken[table.lane[i]].set(key, true);
      const y = lane.lane === 0 ? lane.middle : lane.isHost ? lane.band - 6 : lane.top + 4;
      this.glyph(e.kinds[kind].label, type, x, y);
      this.hits.push([x - 4, y - 5, 8, 10, id]);
      if (lane.lane === 0) this.world.push([x, d.strings[table.text[i]], y]);
    };
    this.world = [];
    for (const [table, type] of [[d.marks, MARK], [d.logs, LOG]]) {
      const low = lowerBound(table.at, l.begin), high = lowerBound(table.at, l.end);
      for (let i = low; i < high; i++) one(table, type, i);
    }
    this.world.forEach(([x, text, y], index) => {
      const room = (index + 1 < this.world.length ? this.world[index + 1][0] : l.width) - x - 10;
      if (room > 30) this.clipped(text, x + 7, y, c.text, room);
    });
    pen.globalAlpha = 1;
  }

  glyph(label, type, x, y) {
    const { pen, colours: c } = this;
    pen.beginPath();
    if (type === LOG) { pen.fillStyle = label === "warning" || label === "error" ? c.dropped : c.soft; pen.rect(x - 2.5, y - 2.5, 5, 5); pen.fill(); return; }
    if (label === "crash" || label === "disk") {
      pen.strokeStyle = c.bad; pen.lineWidth = 2;
      pen.moveTo(x - 3.5, y - 3.5); pen.lineTo(x + 3.5, y + 3.5); pen.moveTo(x + 3.5, y - 3.5); pen.lineTo(x - 3.5, y + 3.5); pen.stroke();
    } else if (label === "fault") {
      pen.fillStyle = c.dropped; pen.moveTo(x, y - 5); pen.lineTo(x + 4, y + 4); pen.lineTo(x - 4, y + 4); pen.fill();
    } else if (label === "start") {
      pen.fillStyle = c.good; pen.moveTo(x - 3, y - 4); pen.lineTo(x + 4, y); pen.lineTo(x - 3, y + 4); pen.fill();
    } else if (label === "applies") {
      pen.fillStyle = c.good; pen.arc(x, y, 3, 0, 7); pen.fill();
    } else if (label === "role" || label === "standing") {
      pen.fillStyle = c.accent; pen.moveTo(x, y - 4.5); pen.lineTo(x + 4.5, y); pen.lineTo(x, y + 4.5); pen.lineTo(x - 4.5, y); pen.fill();
    } else {
      pen.strokeStyle = c.soft; pen.lineWidth = 1.2; pen.arc(x, y, 2.6, 0, 7); pen.stroke();
    }
  }

  broken() {
    const { pen, data: d, layout: l, colours: c } = this;
    if (!d.broken) return;
    const x = l.x(d.broken.at), id = d.events.idOf[BROKEN][0];
    if (x < GUTTER - 2 || x > l.width + 2) return;
    pen.fillStyle = c.bad;
    pen.fillRect(x - 1, 0, 2, l.height);
    const text = `broken: ${d.broken.rule}`, width = pen.measureText(text).width + 10, left = x + width > l.width ? x - width : x;
    pen.fillRect(left, 1, width, 16);
    pen.fillStyle = c.back;
    pen.fillText(text, left + 5, 9.5);
    this.hits.push([left, 0, width, 18, id]);
    this.hits.push([x - 3, 0, 6, l.height, id]);
  }

  selected() {
    const { pen, data: d, layout: l, colours: c, state } = this, e = d.events, id = state.selected;
    for (const found of state.found.length && state.found.length < 20000 ? this.near(state.found) : []) this.halo(found, c.accent);
    if (id < 0) return;
    const x = l.x(e.at[id]);
    pen.fillStyle = c.accent;
    pen.globalAlpha = 0.5;
    pen.fillRect(x - 0.5, AXIS - 6, 1, l.height);
    pen.globalAlpha = 1;
    const i = messageOf(d, id);
    if (i >= 0 && l.lanes[e.lane[id]] && l.lanes[e.other[id]]) {
      pen.strokeStyle = pen.fillStyle = c.accent;
      pen.lineWidth = 2.5;
      pen.beginPath();
      for (const [x0, y0, x1, y1] of this.lines(i)) { pen.moveTo(x0, y0); pen.lineTo(x1, y1); }
      pen.stroke();
      pen.beginPath();
      for (const line of this.lines(i)) this.head(...line);
      pen.fill();
      this.name(i);
    } else {
      for (const [left, top, width, height, other] of this.hits) {
        if (other !== id) continue;
        pen.strokeStyle = c.accent;
        pen.lineWidth = 2;
        pen.strokeRect(left - 1.5, top - 1.5, width + 3, height + 3);
        break;
      }
    }
  }

  near(found) {
    const { data: d, layout: l } = this, e = d.events, seen = [];
    for (const id of found) if (e.at[id] >= l.begin && e.at[id] <= l.end && this.state.shown[id]) seen.push(id);
    return seen.length > 2000 ? [] : seen;
  }

  halo(id, colour) {
    const { pen, data: d, layout: l } = this, e = d.events, lane = l.lanes[e.lane[id]];
    if (!lane) return;
    pen.strokeStyle = colour;
    pen.lineWidth = 1.5;
    pen.beginPath();
    pen.arc(l.x(e.at[id]), e.type[id] === MESSAGE ? lane.middle : lane.isHost ? lane.band - 6 : lane.middle, 5.5, 0, 7);
    pen.stroke();
  }

  // The event nearest to a point, or -1.
  hit(x, y) {
    for (let k = this.hits.length - 1; k >= 0; k--) {
      const [left, top, width, height, id] = this.hits[k];
      if (height < 12 && x >= left - 2 && x <= left + width + 2 && y >= top - 2 && y <= top + height + 2) return id;
    }
    let best = -1, least = 6;
    for (const i of this.arrows || []) {
      for (const [x0, y0, x1, y1] of this.lines(i)) {
        const length = (x1 - x0) ** 2 + (y1 - y0) ** 2 || 1;
        const part = Math.max(0, Math.min(1, ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length));
        const distance = Math.hypot(x - x0 - part * (x1 - x0), y - y0 - part * (y1 - y0));
        if (distance < least) { least = distance; best = this.data.events.idOf[MESSAGE][i]; }
      }
    }
    if (best >= 0) return best;
    for (let k = this.hits.length - 1; k >= 0; k--) {
      const [left, top, width, height, id] = this.hits[k];
      if (x >= left && x <= left + width && y >= top && y <= top + height) return id;
    }
    return -1;
  }

  overview(canvas, ratio) {
    const { data: d, layout: l, colours: c } = this, m = d.messages, s = d.spans, pen = canvas.getContext("2d");
    const width = l.width, height = 44, x = (at) => GUTTER + (at / d.end) * (width - GUTTER - 8);
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = c.panel;
    pen.fillRect(0, 0, width, height);
    const columns = Math.ceil((width - GUTTER) / 2) + 1, counts = new Int32Array(columns), lost = new Int32Array(columns);
    let most = 1;
    for (let i = 0; i < m.size; i++) {
      const k = Math.max(0, Math.min(columns - 1, ((x(m.at[i]) - GUTTER) / 2) | 0));
      most = Math.max(most, ++counts[k]);
      if (m.count[i] === 0) lost[k]++;
    }
    for (const [each, colour] of [[counts, c.delivered], [lost, c.dropped]]) {
      pen.fillStyle = colour;
      for (let k = 0; k < columns; k++) if (each[k]) { const h = Math.max(1, (each[k] / most) * 26); pen.fillRect(GUTTER + k * 2, height - 2 - h, 1.5, h); }
    }
    const hosts = d.lanes.map((_, lane) => lane).filter((lane) => lane && !d.isClient[lane]);
    const row = Math.min(3, 14 / Math.max(1, hosts.length));
    for (let i = 0; i < s.size; i++) {
      const kind = d.strings[s.kind[i]], at = hosts.indexOf(s.lane[i]);
      if (at < 0 || !["down", "paused", "cut"].includes(kind)) continue;
      pen.fillStyle = kind === "down" ? c["down-text"] : c[kind];
      pen.fillRect(x(s.at[i]), 1 + at * row, Math.max(1, x(s.at[i] + s.took[i]) - x(s.at[i])), Math.max(0.8, row - 0.6));
    }
    pen.font = '11px system-ui, "DejaVu Sans", sans-serif';
    pen.textBaseline = "middle";
    pen.fillStyle = c.soft;
    pen.fillText("whole run", 10, 14);
    pen.fillText(`${seconds(d.end, 1e8)} s`, 10, 30);
    if (d.broken) { pen.fillStyle = c.bad; pen.fillRect(x(d.broken.at) - 1, 0, 2.5, height); }
    pen.strokeStyle = c.accent;
    pen.lineWidth = 2;
    const left = Math.max(GUTTER, x(l.begin)), right = Math.min(width - 1, x(l.end));
    pen.strokeRect(left, 1, Math.max(3, right - left), height - 2);
    pen.globalAlpha = 0.1;
    pen.fillStyle = c.accent;
    pen.fillRect(left, 1, Math.max(3, right - left), height - 2);
    pen.globalAlpha = 1;
  }
}
