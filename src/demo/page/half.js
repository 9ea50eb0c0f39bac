// One half of the demo: a chat page as they are usually written. It remembers nothing across reloads, dials again
// after a cut, and drops what it has already shown.

import { Transcript } from '/transcript.js';

const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 5000;
// A connection that held this long has earned quick retries again.
const STEADY_MS = 5000;
const STATS_MS = 1000;

const REPLACED = 4001;
const GAP = 4009;
const FINAL = new Map([
  [REPLACED, ['Replaced', 'This conversation goes on in a newer tab.', 'Continue here']],
  [1008, ['Refused', 'The connection was refused.', 'Try again']],
  [4003, ['Refused', 'The connection was refused.', 'Try again']],
]);

const at = (id) => document.getElementById(id);
const { side, socket: where } = document.body.dataset;
const address = new URL(where, location.href);
address.protocol = address.protocol.replace('http', 'ws');

const announce = (text) => {
  at('announce').textContent = text;
};
const transcript = new Transcript(at('transcript'), announce, (decision) => say(decision));

let socket = null;
let session = null;
let seq = 0;
let retries = 0;
let timer = null;
let opened = null;
let leaving = false;

function connect() {
  clearTimeout(timer);
  timer = null;
  opened = null;
  notice();
  state('connecting', retries ? 'Reconnecting' : 'Connecting');
  const dialled = new WebSocket(address);
  socket = dialled;
  dialled.addEventListener('open', () => {
    opened = performance.now();
    state('open', 'Connected');
    transcript.allowDecision(true);
    refresh();
  });
  dialled.addEventListener('message', ({ data }) => receive(JSON.parse(data)));
  dialled.addEventListener('close', ({ code }) => closed(code));
}

function closed(code) {
  socket = null;
  transcript.allowDecision(false);
  if (leaving) return;
  const final = FINAL.get(code);
  if (final) {
    const [name, text, button] = final;
    state('closed', name, code);
    notice(text, button);
    return;
  }
  // Nothing is left that would make this page whole, but a reload does.
  if (code === GAP) location.reload();
  retries = opened !== null && performance.now() - opened > STEADY_MS ? 1 : retries + 1;
  const wait = Math.min(FIRST_RETRY_MS * 2 ** (retries - 1), LAST_RETRY_MS);
  state('waiting', 'Reconnecting', code);
  if (retries > 3) notice(`${address.host} does not answer. Is this page on the same machine?`, 'Try now');
  // Pages that lost one server do not all come back at the same instant.
  timer = setTimeout(connect, wait * (0.75 + Math.random() / 2));
}

function receive(message) {
  if (message.session !== session) {
    if (session !== null) transcript.abandon();
    session = message.session;
    seq = 0;
  }
  if (message.seq <= seq) return;
  if (message.seq > seq + 1) transcript.gap(message.seq - seq - 1);
  seq = message.seq;
  transcript.show(message);
  composer();
}

function say(request) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(request));
}

function ask(text) {
  if (text.trim() && !transcript.busy) say({ type: 'prompt', text: text.trim() });
}

function state(name, text, code) {
  const shown = at('state');
  shown.dataset.state = name;
  shown.dataset.code = code ?? '';
  if (shown.textContent !== text) shown.textContent = text;
  composer();
}

function notice(text = '', button = '') {
  at('notice').hidden = !text;
  at('notice').firstElementChild.textContent = text;
  at('retry').textContent = button;
}

function composer() {
  at('send').disabled = transcript.busy || socket?.readyState !== WebSocket.OPEN;
}

// What the agent itself counted on this side.
async function refresh() {
  let counts;
  try {
    const answer = await fetch('/stats', { cache: 'no-store' });
    counts = (await answer.json())[side];
  } catch {
    return; // The connection's state says it already; the next poll asks again.
  }
  for (const name of ['connections', 'cancelled', 'tool_runs']) at(name).textContent = counts[name];
  at('connections').classList.toggle('bad', counts.connections > 1);
  at('cancelled').classList.toggle('bad', counts.cancelled > 0);
  transcript.hint(
    counts.cancelled > 0
      ? 'The turn was cancelled: the agent lost its connection when the page went away, and dropped the work with it.'
      : 'Nothing asked yet.',
  );
}

at('composer').addEventListener('submit', (event) => {
  event.preventDefault();
  if (at('send').disabled) return;
  ask(at('prompt').value);
  at('prompt').value = '';
});
at('reload').addEventListener('click', () => location.reload());
at('retry').addEventListener('click', connect);
addEventListener('message', ({ origin, data }) => {
  if (origin === location.origin && typeof data?.ask === 'string') ask(data.ask);
});
addEventListener('online', () => {
  if (timer !== null) connect();
});
// A page that goes away must not dial once more on its way out; one that the browser brings back must.
addEventListener('pagehide', () => {
  leaving = true;
});
addEventListener('pageshow', ({ persisted }) => {
  leaving = false;
  if (persisted && socket === null) connect();
});
setInterval(() => {
  if (!document.hidden) refresh();
}, STATS_MS);

connect();
refresh();
