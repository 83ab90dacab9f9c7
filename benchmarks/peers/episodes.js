// k6: episodes on OpenEnv's WebSocket, one an iteration: reset, so many steps, close. One line of JSON at the end.
import { WebSocket } from 'k6/websockets';
import { Counter, Trend } from 'k6/metrics';

const actions = JSON.parse(__ENV.ACTIONS);
const took = new Trend('step', true);
const wrong = new Counter('wrong');

export const options = {
  scenarios: {
    load: {
      executor: 'constant-vus', vus: Number(__ENV.VUS), duration: `${__ENV.SECONDS}s`, gracefulStop: '5s',
    },
  },
  summaryTrendStats: ['count', 'p(50)', 'p(90)', 'p(95)', 'p(99)', 'p(99.9)'],
};

function hexadecimal() {
  const half = () => Math.floor(Math.random() * 0x100000000).toString(16).padStart(8, '0');
  return half() + half();
}

export default function () {
  const socket = new WebSocket(__ENV.URL);
  let step = 0;
  let nonce = '';
  let sent = 0;
  const send = (type, data) => {
    nonce = hexadecimal();
    sent = Date.now();
    socket.send(JSON.stringify({ type, data: { ...data, nonce } }));
  };
  socket.addEventListener('open', () => send('reset', { seed: 3 }));
  socket.addEventListener('error', () => wrong.add(1));
  socket.addEventListener('message', (event) => {
    const reply = JSON.parse(event.data);
    took.add(Date.now() - sent);
    if (reply.type !== 'observation' || reply.data.observation.nonce !== nonce) wrong.add(1);
    if (reply.data.done || step === actions.length) {
      socket.send('{"type": "close"}');
      socket.close();
    } else {
      send('step', actions[step]);
      step += 1;
    }
  });
}

export function handleSummary({ metrics }) {
  const { values } = metrics.step;
  const figures = {
    requests: values.count,
    failed: metrics.wrong ? metrics.wrong.values.count : 0,
    dropped: 0,
    p50: values['p(50)'], p90: values['p(90)'], p95: values['p(95)'], p99: values['p(99)'], p999: values['p(99.9)'],
  };
  return { stdout: `${JSON.stringify(figures)}\n` };
}
