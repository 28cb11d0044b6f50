// One figure of a service's /metrics (Prometheus text format).

/** The value of a metric without labels, or with exactly the given ones; 0 if there is none. */
export async function readMetric(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text()
  const line = text.split('\n').find(line => line.startsWith(`${name} `))
  return line === undefined ? 0 : Number(line.slice(name.length + 1))
}
