// k6: GET requests, by VUs in a closed loop, or at a constant arrival rate. One line of JSON at the end.
import http from 'k6/http';

const rate = Number(__ENV.RATE || 0);
const vus = Number(__ENV.VUS);
const duration = `${__ENV.SECONDS}s`;
const closed = { executor: 'constant-vus', vus, duration };
const open = {
  executor: 'constant-arrival-rate', rate, timeUnit: '1s', duration, preAllocatedVUs: vus, maxVUs: vus,
};

export const options = {
  scenarios: { load: { gracefulStop: '5s', ...(rate ? open : closed) } },
  summaryTrendStats: ['count', 'p(50)', 'p(90)', 'p(95)', 'p(99)', 'p(99.9)'],
};

export default function () {
  http.get(__ENV.URL);
}

export function handleSummary({ metrics }) {
  const took = metrics.http_req_duration.values;
  const dropped = metrics.dropped_iterations;
  const figures = {
    requests: metrics.http_reqs.values.count,
    failed: metrics.http_req_failed.values.passes,
    dropped: dropped ? dropped.values.count : 0,
    p50: took['p(50)'], p90: took['p(90)'], p95: took['p(95)'], p99: took['p(99)'], p999: took['p(99.9)'],
  };
  return { stdout: `${JSON.stringify(figures)}\n` };
}
