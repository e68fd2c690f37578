// What each microscope said last. Output 1: the fleet, as rows; output 2: a request for events that did not arrive.
// State is told anew and events may come twice: numbers (`sequence`, within an `epoch`) say what is new.
const prefix = (env.get('SCOPE_PREFIX') || 'scope/v1').split('/');
const levels = msg.topic.split('/');
const key = levels.slice(prefix.length, prefix.length + 2).join('/');
const kind = levels.slice(prefix.length + 2).join('/');
if (levels.length < prefix.length + 3 || kind.startsWith('request/')) return null;

const fleet = flow.get('fleet') || {};
const scope = fleet[key] || { key, power: 'unknown', reasons: [], alerts: {}, events: 0, missing: 0 };
fleet[key] = scope;

let said = null;
if (msg.payload) {
  try { said = JSON.parse(msg.payload); } catch { node.warn(`${msg.topic}: no JSON`); return null; }
}
const isEvent = said !== null && said.specversion === '1.0';
const data = isEvent ? said.data : said;

// State: the last word counts.
if (kind === 'status' && data) { scope.power = data.state; scope.reasons = data.reasons || []; scope.since = said.time; }
if (kind === 'acquisition/current') {
  scope.current = data ? data.name : null;
  scope.frames = data ? data.frames_actual || 0 : null;
  scope.planned = data ? data.frames_planned || null : null;
}
if (kind === 'progress' && data) {
  scope.queue = data.queue;
  if (scope.current) { scope.frames = data.frames; scope.planned = data.planned; }
}
if (kind.startsWith('alert/')) {
  const code = kind.slice('alert/'.length);
  if (data) scope.alerts[code] = data.text; else delete scope.alerts[code];
}

// Numbers: each event counts once, and what is missing is asked for, at most every ten seconds.
let request = null;
if (isEvent && said.epoch && scope.epoch && said.epoch > scope.epoch) { scope.upto = 0; scope.beyond = []; }
const stale = isEvent && said.epoch && scope.epoch && said.epoch < scope.epoch;
if (isEvent && !stale) {
  scope.epoch = said.epoch || scope.epoch;
  const number = said.sequence;
  const newest = kind === 'sequence' ? data.last : number;
  const isNews = kind === 'sequence' || (kind.startsWith('acquisition/') && kind !== 'acquisition/current');
  if (scope.upto === undefined && isNews) { scope.upto = kind === 'sequence' ? newest : number - 1; scope.beyond = []; }
  if (scope.upto !== undefined) {
    const retained = msg.retain && kind !== 'sequence';
    if (number > scope.upto && !retained && !scope.beyond.includes(number)) {
      scope.beyond.push(number);
      scope.beyond.sort((a, b) => a - b);
      scope.events += 1;
      if (kind.startsWith('acquisition/') && kind !== 'acquisition/current') {
        scope.last = `${data.name}: ${kind.slice('acquisition/'.length)}`;
      }
    }
    while (scope.beyond[0] === scope.upto + 1) { scope.upto += 1; scope.beyond.shift(); }
    const last = Math.max(newest && !retained ? newest : 0, scope.upto, ...scope.beyond.slice(-1));
    scope.missing = last - scope.upto - scope.beyond.length;
    if (scope.missing > 0 && Date.now() - (scope.asked || 0) > 10000) {
      scope.asked = Date.now();
      const root = levels.slice(0, prefix.length + 2).join('/');
      request = { topic: `${root}/request/replay`, payload: { since: scope.upto, until: last } };
    }
  }
}

flow.set('fleet', fleet);
const rows = Object.values(fleet).sort((a, b) => a.key.localeCompare(b.key)).map((s) => ({
  microscope: s.key,
  power: s.reasons.length ? `${s.power}: ${s.reasons.join('; ')}` : s.power,
  acquisition: s.current ? `${s.current} (${s.frames}${s.planned ? ` of ${s.planned}` : ''})` : '',
  queue: s.queue ?? '',
  last: s.last || '',
  alerts: Object.entries(s.alerts).map(([code, text]) => `${code}: ${text}`).join('; '),
  missing: s.missing,
  events: s.events,
}));
return [{ payload: rows }, request];
