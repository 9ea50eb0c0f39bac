// Cross-site WebSocket hijacking with real pages: a page of another origin, in the browser that has the owner's cookie.
// It succeeds straight at the agent server, and gets nowhere through sessmux.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';

import { launch, sessmux, skip } from './harness.mjs';

/** Asks for a WebSocket as any page may; resolves to what it heard first, or 'refused'. */
const attack = (url) => new Promise((resolve) => {
  const socket = new WebSocket(url);
  socket.onmessage = ({ data }) => resolve(String(data));
  socket.onclose = () => resolve('refused');
});

/** A site that serves one page, on a port of its own. */
async function site(text) {
  const server = createServer((_, answer) => answer.setHeader('content-type', 'text/html').end(`<h1>${text}</h1>`));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  return { server, port, url: `http://127.0.0.1:${port}`, stop: () => server.close() };
}

/** A text frame of a server (RFC 6455 section 5.2) with less than 126 bytes. */
const frame = (text) => Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text)]);

/** An agent server that believes everybody: it greets each connection by its number, and says back what it hears. */
async function greeter() {
  const agent = await site('Agent');
  const sockets = [];
  agent.server.on('upgrade', ({ headers }, socket) => {
    const key = headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
      + `Sec-WebSocket-Accept: ${createHash('sha1').update(key).digest('base64')}\r\n\r\n`);
    const number = sockets.push(socket);
    socket.write(frame(`greeting ${number}`));
    socket.on('data', (bytes) => {
      if (bytes[0] !== 0x81) return;
      const text = bytes.subarray(6, 6 + (bytes[1] & 0x7f)).map((byte, index) => byte ^ bytes[2 + index % 4]);
      socket.write(frame(`to ${number}: ${Buffer.from(text)}`));
    });
    socket.on('error', () => {});
  });
  return { ...agent, stop() { sockets.forEach((socket) => socket.destroy()); agent.stop(); } };
}

describe('cross-site WebSocket hijacking', { skip }, () => {
  let agent, proxy, evil, browser, context, victim;

  before(async () => {
    agent = await greeter();
    proxy = await sessmux(agent.url, null, ['--key', 'query:session']);
    evil = await site('Win a prize');
    browser = await launch();
    context = await browser.newContext();
    victim = await context.newPage();
    await victim.goto(`${proxy.url}/`);
    await victim.evaluate((url) => new Promise((resolve) => {
      window.heard = [];
      window.socket = new WebSocket(url);
      window.socket.onmessage = ({ data }) => { window.heard.push(data); resolve(); };
    }), `${proxy.url.replace('http', 'ws')}/ws?session=a`);
    assert.deepEqual(await victim.evaluate(() => window.heard), ['greeting 1']);
  });

  after(async () => {
    await browser?.close();
    for (const it of [evil, proxy, agent]) await it?.stop();
  });

  const ws = (url) => `${url.replace('http', 'ws')}/ws?session=a`;

  /** The victim's socket is the one it had, and works. */
  async function undisturbed() {
    const answer = await victim.evaluate(() => new Promise((resolve, reject) => {
      window.socket.onmessage = ({ data }) => resolve(data);
      window.socket.onclose = () => reject(new Error('the victim was closed'));
      window.socket.send('mine');
    }));
    assert.equal(answer, 'to 1: mine');
  }

  for (const [name, host] of [['a sibling port', '127.0.0.1'], ['another name of this machine', 'localhost']]) {
    test(`a page of ${name} gets no socket, and would get one straight at the agent server`, async () => {
      const page = await context.newPage();
      await page.goto(`http://${host}:${evil.port}/`);
      assert.match(await page.evaluate(attack, ws(agent.url)), /^greeting/, 'straight it succeeds');
      assert.equal(await page.evaluate(attack, ws(proxy.url)), 'refused');
      await undisturbed();
      await page.close();
    });
  }

  test('nor does one in a sandboxed frame, whose origin is null', async () => {
    const page = await context.newPage();
    await page.goto(`http://127.0.0.1:${evil.port}/`);
    const heard = await page.evaluate(({ script }) => new Promise((resolve) => {
      window.onmessage = ({ data }) => resolve(data);
      const frame = document.createElement('iframe');
      frame.sandbox = 'allow-scripts';
      frame.srcdoc = `<script>${script}</script>`;
      document.body.append(frame);
    }), { script: `(${attack})('${ws(proxy.url)}').then((heard) => parent.postMessage(heard, '*'))` });
    assert.equal(heard, 'refused');
    await undisturbed();
    await page.close();
  });

  test('a cookie that a sibling port plants does not have the victim share a session', async () => {
    const page = await context.newPage();
    await page.goto(`http://127.0.0.1:${evil.port}/`);
    const name = `sessmux-${new URL(proxy.url).port}`;
    // for the longer path, so that it is sent first and does not meet the one that scripts cannot touch
    await page.evaluate((cookie) => { document.cookie = cookie; }, `${name}=${'e'.repeat(32)}; path=/ws`);
    const planted = (await context.cookies(`${proxy.url}/ws`)).filter((cookie) => cookie.name === name);
    assert.equal(planted.length, 2, 'the browser took it');
    const again = await context.newPage();
    await again.goto(`${proxy.url}/`);
    const heard = await again.evaluate(attack, ws(proxy.url));
    assert.match(heard, /^greeting [^1]/, 'a session of its own, neither the victim\'s nor the attacker\'s');
    assert(proxy.said.some((line) => line.includes('two values of the cookie')), 'and the log says why');
    await undisturbed();
    await page.close();
  });
});
