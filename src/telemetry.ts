// Turns what the parts of this process report into metrics and log lines. Each property is what one
// part calls. Invariant: whatever may happen thousands of times a second is only counted, or logged
// once a second with its number (Reports). Decides nothing.
import { pino } from 'pino'
import { DialogsError } from './errors.js'
import { type EndReason } from './live/stream.js'
import { Metrics } from './metrics.js'
import { type ClusterEvents } from './redis/cluster.js'
import { Reports } from './reports.js'
import { type ServiceEvents } from './service.js'

export class Telemetry {
  readonly metrics = new Metrics()
  readonly reports: Reports
  /** Masters that go on without a replica; one that was replaced meanwhile may still be here. */
  readonly degraded = new Set<string>()
  /** Nodes that the others reach, but this process does not. */
  readonly cutOff = new Set<string>()
  readonly cluster: ClusterEvents
  readonly service: ServiceEvents

  constructor(logLevel: string) {
    const log = pino(
      { level: logLevel, serializers: { err: pino.stdSerializers.errWithCause } },
      process.stderr
    )
    const { metrics, degraded, cutOff } = this
    this.reports = new Reports(log)
    this.cluster = {
      refused: fault => {
        if (fault === undefined) log.warn('Redis lets the service work again')
        else log.error({ code: fault.code, err: fault }, fault.message)
      },
      warned: text => {
        log.warn(text)
      },
      retried: why => {
        metrics.retries.inc({ why })
      },
      degraded: (node, isDegraded) => {
        log.warn(
          { node, isDegraded },
          isDegraded ? 'shard goes on without a replica' : 'shard has a replica again'
        )
        note(degraded, node, isDegraded)
      },
      cutOff: (node, isCutOff) => {
        log.warn(
          { node, isCutOff },
          isCutOff
            ? 'a node that the others reach does not answer: requests that need it are refused'
            : 'the node is reached again, or the others have given it up'
        )
        note(cutOff, node, isCutOff)
      }
    }
    this.service = {
      subscriptionLost: why => {
        metrics.subscriptionsLost.inc({ why })
      },
      doubted: channels => {
        metrics.doubts.inc({ of: channels === 'all' ? 'all' : 'some' })
      },
      gap: () => {
        metrics.gaps.inc()
      },
      reset: reason => {
        metrics.resets.inc({ reason })
      },
      earlyFull: () => {
        metrics.limits.inc({ limit: 'early' })
      },
      ringEvicted: () => {
        metrics.limits.inc({ limit: 'ring' })
      },
      stalled: stalledMs => {
        this.#warn('stalled stream', 'stream ended: the client takes nothing', stalledMs)
      },
      fault: this.fault
    }
  }

  /** Background work failed, for which no request is answered. */
  readonly fault = (what: string, error: unknown): void => {
    this.metrics.faults.inc({ what })
    this.reports.report(what, { level: 'warn', message: `background work failed: ${what}`, error })
  }

  readonly connectionStalled = (stalledMs: number): void => {
    const message = 'connection closed: the client does not take its answer'
    this.#warn('stalled connection', message, stalledMs)
  }

  readonly streamEnded = (reason: EndReason): void => {
    this.metrics.streamsEnded.inc({ reason })
  }

  /** A client that asked for a stream was told to come back later. */
  readonly streamPutOff = (error: unknown): void => {
    if (error instanceof DialogsError) this.metrics.putOff.inc({ code: error.code })
    else this.fault('stream', error)
  }

  #warn(kind: string, message: string, stalledMs: number): void {
    this.reports.report(kind, { level: 'warn', message, fields: { stalledMs } })
  }
}

function note(nodes: Set<string>, node: string, isIn: boolean): void {
  if (isIn) nodes.add(node)
  else nodes.delete(node)
}
