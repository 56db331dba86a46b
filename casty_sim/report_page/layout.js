// Where things are: lanes from top to bottom, time from left to right.

const GUTTER = 118, AXIS = 24, BAND = 13, MARKS = 13, WIDE = 12, THIN = 4, OPERATION_ROW = 13;

class Layout {
  constructor(data) {
    this.data = data;
    this.begin = 0;
    this.end = data.end;
    this.width = 800;
    this.height = 400;
    this.lanes = [];
    this.on = data.lanes.map(() => true);
  }

  // Heights follow from what is in the lanes; what is left of `room` goes to the hosts, whose arrows get flatter by it.
  arrange(width, room) {
    const d = this.data, stacks = d.rowsOf;
    this.width = width;
    const shown = d.lanes.map((_, lane) => lane).filter((lane) => this.on[lane]);
    const hosts = shown.filter((lane) => lane > 0 && !d.isClient[lane]);
    const compact = hosts.length > 24;
    const needs = shown.map((lane) => {
      if (lane === 0) return 20;
      if (d.isClient[lane]) return Math.max(1, Math.min(6, stacks.operations.count[lane])) * OPERATION_ROW + 8;
      const thin = stacks.thin.count[lane], wide = Math.min(5, stacks.wide.count[lane]);
      return MARKS + BAND + wide * WIDE + Math.min(8, thin) * THIN + (compact ? 4 : 16);
    });
    const sum = needs.reduce((a, b) => a + b, AXIS);
    const extra = hosts.length ? Math.max(0, Math.min(70, (room - sum) / hosts.length)) : 0;
    this.lanes = d.lanes.map(() => null);
    let y = AXIS;
    shown.forEach((lane, index) => {
      const isHost = lane > 0 && !d.isClient[lane];
      const height = needs[index] + (isHost ? extra : 0);
      this.lanes[lane] = { lane, top: y, height, band: y + MARKS, middle: y + (isHost ? MARKS + BAND / 2 : height / 2), isHost };
      y += height;
    });
    this.height = Math.max(y + 4, Math.min(room, 200));
  }

  x(at) { return GUTTER + ((at - this.begin) / (this.end - this.begin)) * (this.width - GUTTER - 8); }

  time(x) { return this.begin + ((x - GUTTER) / (this.width - GUTTER - 8)) * (this.end - this.begin); }

  laneAt(y) { return this.lanes.findIndex((each) => each && y >= each.top && y < each.top + each.height); }

  // At least a microsecond, at most a little more than the run.
  show(begin, end) {
    const whole = this.data.end, longest = whole * 1.04;
    let length = Math.max(1000, Math.min(longest, end - begin));
    let from = begin + (end - begin - length) / 2;
    from = Math.max(-whole * 0.02, Math.min(from, whole * 1.02 - length));
    this.begin = from;
    this.end = from + length;
  }

  zoom(factor, at) { this.show(at - (at - this.begin) * factor, at + (this.end - at) * factor); }

  pan(part) {
    const by = (this.end - this.begin) * part;
    this.show(this.begin + by, this.end + by);
  }

  // A step between ticks of 1, 2 or 5 times a power of ten, about `pixels` wide.
  tick(pixels) {
    const wish = ((this.end - this.begin) * pixels) / (this.width - GUTTER);
    const power = 10 ** Math.floor(Math.log10(wish));
    return [1, 2, 5, 10].map((each) => each * power).find((each) => each >= wish);
  }
}
