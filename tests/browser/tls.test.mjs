// TLS on both sides of sessmux, by certificates that openssl makes: a page reloads, and its agent server does not see it.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import https from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { launch, sessmux, skip } from './harness.mjs';

const absent = skip || (spawnSync('openssl', ['version']).error ? 'openssl is absent' : false);

/** Shows what it is told. */
const PAGE = `<!doctype html><title>agent</title><ol></ol><script>
  const socket = new WebSocket('wss://' + location.host + '/ws');
  socket.onmessage = ({ data }) => {
    document.querySelector('ol').insertAdjacentHTML('beforeend', '<li>' + data);
  };
</script>`;

/** A text frame of a server (RFC 6455 section 5.2) with less than 126 bytes. */
const frame = (text) => Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text)]);

describe('by TLS', { skip: absent }, () => {
  let folder;
  let agent;
  let proxy;
  let browser;
  /** The agent's connections. */
  const sockets = [];

  /** What a manual tells who wants a certificate of his own. */
  function certificate(name) {
    const [key, cert] = ['key', 'cert'].map((kind) => path.join(folder, `${name}-${kind}.pem`));
    const made = spawnSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2',
      '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1',
      '-keyout', key, '-out', cert], { encoding: 'utf8' });
    assert.equal(made.status, 0, made.stderr);
    return { key, cert };
  }

  before(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'sessmux-tls-'));
    const [inner, outer] = [certificate('agent'), certificate('sessmux')];
    agent = https.createServer({ key: readFileSync(inner.key), cert: readFileSync(inner.cert) },
      (request, response) => response.writeHead(200, { 'Content-Type': 'text/html', 'Cache-Control': 'no-store' }).end(PAGE));
    agent.on('upgrade', ({ headers }, socket) => {
      const key = headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
      const accept = createHash('sha1').update(key).digest('base64');
      socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
        + `Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
      sockets.push(socket);
      socket.write(frame(`${headers['x-forwarded-proto']} ${sockets.length}`));
    });
    await new Promise((resolve) => agent.listen(0, '127.0.0.1', resolve));
    proxy = await sessmux(`https://localhost:${agent.address().port}`, null,
      ['--upstream-ca', inner.cert, '--tls-cert', outer.cert, '--tls-key', outer.key]);
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await proxy?.stop();
    sockets.forEach((socket) => socket.destroy());
    agent?.close();
    if (folder) rmSync(folder, { recursive: true });
  });

  test('a reload shows what was said, over the one connection, and the cookie is of this host alone', async () => {
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    context.setDefaultTimeout(20_000);
    const page = await context.newPage();
    await page.goto(proxy.url);
    await page.getByText('https 1').waitFor();
    const [cookie] = await context.cookies();
    assert.deepEqual([cookie.name, cookie.secure, cookie.httpOnly], ['__Host-sessmux', true, true]);
    for (let number = 0; number < 5; number += 1) {
      await page.reload();
      sockets[0].write(frame(`message ${number}`));
      await page.getByText(`message ${number}`).waitFor();
      const shown = Array.from({ length: number + 1 }, (_, earlier) => `message ${earlier}`);
      assert.deepEqual(await page.locator('li').allInnerTexts(), ['https 1', ...shown]);
    }
    assert.equal(sockets.length, 1);
    await context.close();
  });
});
