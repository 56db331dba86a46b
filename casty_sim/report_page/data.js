// The data of the page: columns as Python wrote them (casty_sim/html.py), unpacked into typed arrays, and one list of
// all events in the order of time, which is what is filtered, searched and stepped through.

const MESSAGE = 0, MARK = 1, LOG = 2, SPAN = 3, ROLE = 4, OPERATION = 5, BROKEN = 6, ARRIVAL = 7;
const GROUPS = ["Messages", "Marks", "Log lines", "Spans", "Roles", "Operations", "Violation"];
const BLOCK = 256;

async function readData() {
  const element = document.getElementById("data");
  let text = element.textContent;
  if (element.dataset.form === "deflate") {
    const bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    text = await new Response(stream).text();
  }
  element.textContent = "";
  return JSON.parse(text);
}

// Differences to instants. Nanoseconds of an hour fit a double exactly.
function summed(differences) {
  const found = new Float64Array(differences.length);
  let at = 0;
  for (let i = 0; i < differences.length; i++) found[i] = at += differences[i];
  return found;
}

function prepare(raw) {
  const d = { ...raw };
  for (const name of ["messages", "marks", "logs", "spans", "roles", "operations"]) {
    const table = (d[name] = { ...raw[name] });
    table.at = summed(table.at);
    table.size = table.at.length;
  }
  prepareMessages(d.messages);
  d.end = Math.max(1, d.end);
  d.isClient = d.lanes.map((_, number) => d.clients.includes(number));
  d.events = events(d);
  d.rowsOf = stackRows(d);
  return d;
}

function prepareMessages(m) {
  m.first = new Int32Array(m.size + 1);
  m.last = new Float64Array(m.size);
  m.message = new Int32Array(m.took.length);
  for (let i = 0; i < m.size; i++) {
    m.first[i + 1] = m.first[i] + m.count[i];
    let last = m.at[i];
    for (let k = m.first[i]; k < m.first[i + 1]; k++) {
      last = Math.max(last, m.at[i] + m.took[k]);
      m.message[k] = i;
    }
    m.last[i] = last;
  }
  // The latest arrival of each block: whether a message sent long before is still under way is seen without looking at it.
  m.blocks = new Float64Array(Math.ceil(m.size / BLOCK));
  for (let i = 0; i < m.size; i++) {
    const block = Math.floor(i / BLOCK);
    m.blocks[block] = Math.max(m.blocks[block], m.last[i]);
  }
}

// One entry for each event: instant, type, number within its table, lane, another lane, kind. The arrivals of a message
// are events of the lane where it arrives, of the same kind as the message; those that nobody heard are none.
function events(d) {
  const m = d.messages, unheard = d.fates.indexOf("unheard");
  const arrivals = { size: m.took.length, at: Float64Array.from(m.took, (took, k) => m.at[m.message[k]] + took) };
  const parts = [
    [MESSAGE, d.messages, (i) => d.messages.from[i], (i) => d.messages.to[i], (i) => d.messages.kind[i]],
    [MARK, d.marks, (i) => d.marks.lane[i], null, (i) => d.marks.kind[i]],
    [LOG, d.logs, (i) => d.logs.lane[i], null, (i) => d.logs.level[i]],
    [SPAN, d.spans, (i) => d.spans.lane[i], null, (i) => d.spans.kind[i]],
    [ROLE, d.roles, (i) => d.roles.lane[i], null, (i) => d.roles.role[i]],
    [OPERATION, d.operations, (i) => d.operations.lane[i], null, () => -1],
    [ARRIVAL, arrivals, (k) => m.to[m.message[k]], (k) => m.from[m.message[k]], (k) => m.kind[m.message[k]]],
  ];
  const rows = [];
  for (const [group, table, laneOf, otherOf, textOf] of parts) {
    for (let i = 0; i < table.size; i++) {
      if (group === ARRIVAL && (m.fate[m.message[i]] === unheard || table.at[i] > d.end)) continue;
      rows.push([table.at[i], group, i, laneOf(i), otherOf ? otherOf(i) : -1, textOf(i)]);
    }
  }
  if (d.broken) rows.push([d.broken.at, BROKEN, 0, 0, -1, -1]);
  const size = rows.length;
  const at = new Float64Array(size), type = new Uint8Array(size), ref = new Int32Array(size);
  const lane = new Int32Array(size), other = new Int32Array(size), kind = new Int32Array(size);
  const kinds = [], numbers = new Map();
  const kindOf = (group, text) => {
    if (group === ARRIVAL) return numbers.get(MESSAGE * 1e7 + text);
    const key = group * 1e7 + text;
    if (!numbers.has(key)) {
      const label = group === OPERATION ? "operation" : group === BROKEN ? "violation" : d.strings[text];
      numbers.set(key, kinds.length);
      kinds.push({ group, label, count: 0 });
    }
    const found = numbers.get(key);
    kinds[found].count++;
    return found;
  };
  rows.sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]);
  const idOf = [];
  for (const part of parts) idOf[part[0]] = new Int32Array(part[1].size).fill(-1);
  idOf[BROKEN] = new Int32Array(1);
  rows.forEach((row, i) => {
    at[i] = row[0]; type[i] = row[1]; ref[i] = row[2]; lane[i] = row[3]; other[i] = row[4];
    kind[i] = kindOf(row[1], row[5]);
    idOf[row[1]][row[2]] = i;
  });
  return { size, at, type, ref, lane, other, kind, kinds, idOf };
}

// Spans and operations that overlap on a lane are drawn in rows, each in the first that is free.
function stackRows(d) {
  const stack = (table, wanted) => {
    const row = new Int16Array(table.size).fill(-1), free = d.lanes.map(() => []);
    for (let i = 0; i < table.size; i++) {
      if (!wanted(i)) continue;
      const rows = free[table.lane[i]], end = table.at[i] + table.took[i];
      let at = rows.findIndex((until) => until <= table.at[i]);
      if (at < 0) at = rows.push(0) - 1;
      rows[at] = end;
      row[i] = at;
    }
    return { row, count: free.map((rows) => rows.length) };
  };
  const kindOf = (i) => d.strings[d.spans.kind[i]];
  const whole = (kind) => kind === "down" || kind === "paused";
  return {
    wide: stack(d.spans, (i) => !whole(kindOf(i)) && kindOf(i) !== "owns"),
    thin: stack(d.spans, (i) => kindOf(i) === "owns"),
    operations: stack(d.operations, () => true),
  };
}

// The first index whose value is not below `value`.
function lowerBound(array, value) {
  let low = 0, high = array.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (array[middle] < value) low = middle + 1; else high = middle;
  }
  return low;
}

// The numbers of messages that were under way at some time from `begin` to `end`, those before `begin` included.
function underWay(m, begin, end, see) {
  const low = lowerBound(m.at, begin), high = lowerBound(m.at, end + 1);
  for (let block = 0; block * BLOCK < low; block++) {
    if (m.blocks[block] < begin) continue;
    for (let i = block * BLOCK; i < Math.min(low, (block + 1) * BLOCK); i++) if (m.last[i] >= begin) see(i);
  }
  for (let i = low; i < high; i++) see(i);
}

// The number of the message that an event is about, or -1.
function messageOf(d, id) {
  const e = d.events;
  return e.type[id] === MESSAGE ? e.ref[id] : e.type[id] === ARRIVAL ? d.messages.message[e.ref[id]] : -1;
}

function describe(d, id) {
  const e = d.events, s = d.strings, type = e.type[id] === ARRIVAL ? MESSAGE : e.type[id];
  const i = type === MESSAGE ? messageOf(d, id) : e.ref[id];
  switch (type) {
    case MESSAGE: {
      const m = d.messages, arrivals = [];
      for (let k = m.first[i]; k < m.first[i + 1]; k++) arrivals.push(m.at[i] + m.took[k]);
      return { what: s[m.kind[i]], text: s[m.text[i]], fate: d.fates[m.fate[i]], why: s[m.why[i]], arrivals };
    }
    case MARK: return { what: s[d.marks.kind[i]], text: s[d.marks.text[i]] };
    case LOG: return { what: `log, ${s[d.logs.level[i]]}`, text: s[d.logs.text[i]] };
    case SPAN: {
      const name = s[d.spans.name[i]];
      return { what: s[d.spans.kind[i]] + (name ? ` ${name}` : ""), text: s[d.spans.text[i]], took: d.spans.took[i] };
    }
    case ROLE: return { what: `is ${s[d.roles.role[i]]}`, text: s[d.roles.text[i]], took: d.roles.took[i] };
    case OPERATION: {
      const o = d.operations;
      return { what: s[o.text[i]], text: s[o.result[i]], took: o.took[i], answered: !!o.answered[i], client: s[o.client[i]], key: s[o.key[i]],
        verdict: d.verdicts[o.verdict[i]], place: o.place[i] };
    }
    default: return { what: `broken: ${d.broken.rule}`, text: d.broken.text };
  }
}

function textOf(d, id) {
  const e = d.events, i = e.ref[id];
  switch (e.type[id]) {
    case MESSAGE: return [d.messages.kind[i], d.messages.text[i], d.messages.why[i]];
    case MARK: return [d.marks.kind[i], d.marks.text[i]];
    case LOG: return [d.logs.text[i]];
    case SPAN: return [d.spans.kind[i], d.spans.name[i], d.spans.text[i]];
    case ROLE: return [d.roles.role[i], d.roles.text[i]];
    case OPERATION: return [d.operations.client[i], d.operations.key[i], d.operations.text[i], d.operations.result[i]];
    default: return [];
  }
}

// Seconds with as many digits as the step between two of them wants.
function seconds(ns, step) {
  const digits = Math.max(0, Math.min(9, Math.ceil(-Math.log10(step / 1e9) - 1e-9)));
  return (ns / 1e9).toFixed(digits);
}

function duration(ns) {
  if (ns >= 1e9) return `${(ns / 1e9).toFixed(3)} s`;
  if (ns >= 1e6) return `${(ns / 1e6).toFixed(2)} ms`;
  return `${(ns / 1e3).toFixed(1)} µs`;
}
