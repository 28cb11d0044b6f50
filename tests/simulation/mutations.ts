// Deliberate defects, one at a time, in the compiled service. Each takes away something that a
// promise depends on: if the simulation does not notice, it does not check that promise. The text
// to replace must occur exactly once in its file, so a mutation must follow when the service
// changes.

export type Mutation = {
  readonly name: string
  /** Below dist/src. */
  readonly file: string
  readonly find: string
  readonly replace: string
}

export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'skip the WAIT',
    file: 'redis/replication.js',
    find: 'async acknowledged(connection) {',
    replace: 'async acknowledged(connection) { return this.#settle(this.#options.acks);'
  },
  {
    name: 'one acknowledgement fewer is enough',
    file: 'redis/replication.js',
    find: 'if (acknowledged >= acks)',
    replace: 'if (acknowledged >= acks - 1)'
  },
  {
    name: 'a node that is no longer a master acknowledges',
    file: 'redis/replication.js',
    find: 'if (!standing.isMaster)',
    replace: 'if (false)'
  },
  {
    name: 'a refused WAIT on a replica is an answer',
    file: 'redis/replicas.js',
    find: "if (error.message.includes('WAIT cannot be used with replica'))",
    replace: 'if (false)'
  },
  {
    name: 'send nothing with a new connection',
    file: 'redis/connection.js',
    find: 'await greet(client);',
    replace: ''
  },
  {
    name: 'publish before the acknowledgement',
    file: 'store/appender.js',
    find: 'this.#publishOrder.add(room, done, first => {',
    replace: 'this.#publishOrder.add(room, Promise.resolve(first), first => {'
  },
  {
    name: 'answer before the log is acknowledged',
    file: 'store/committer.js',
    find: 'await last.replicated;',
    replace: ''
  },
  {
    name: 'show on a page what no replica has',
    file: 'store/acknowledged-heads.js',
    find: 'if (ms <= Date.now() - FRESH_MS)',
    replace: 'if (true)'
  },
  {
    name: 'answer before the text is acknowledged',
    file: 'store/appender.js',
    find: 'await pending.stored;',
    replace: ''
  },
  {
    name: 'do not put back a text that a failover took',
    file: 'store/appender.js',
    find: 'await this.#blockWriter.putBack(unsafe, failure);',
    replace: ''
  },
  {
    name: 'commit again without looking for the first attempt',
    file: 'store/log-scripts.js',
    find: 'if entry[2][2] == ARGV[first] then',
    replace: 'if false then'
  },
  {
    name: 'a repeated key commits again',
    file: 'store/log-scripts.js',
    find: "local known = redis.call('GET', KEYS[2])\nif known then",
    replace: "local known = redis.call('GET', KEYS[2])\nif false then"
  },
  {
    name: 'answer a repeated key without looking whether it lasts',
    file: 'store/idempotency.js',
    find: 'await replicated;',
    replace: ''
  },
  {
    name: 'off by one in sealing',
    file: 'store/sealer.js',
    find: 'const next = (segment + 1) * segmentLength + 1;',
    replace: 'const next = (segment + 1) * segmentLength + 2;'
  },
  {
    name: 'cut one entry more than was sealed',
    file: 'store/sealer.js',
    find: "['XTRIM', key, 'MINID', ",
    replace: "['XTRIM', key, 'MAXLEN', String(segmentLength - 1)] ?? ["
  },
  {
    name: 'start a log again although it exists elsewhere',
    file: 'store/log-start.js',
    find: 'if (await this.#mayStart(room, isKnown))',
    replace: 'if (true)'
  },
  {
    name: 'believe an empty answer of a half-moved slot',
    file: 'redis/cluster.js',
    find: 'return await this.#importers.mayHave(key);',
    replace: 'return false;'
  },
  {
    name: 'do not follow ASK with ASKING',
    file: 'redis/slot-sender.js',
    find: ' send(node, args, isAsking, resolve, reject);',
    replace: ' send(node, args, false, resolve, reject);'
  },
  {
    name: 'forget where a MOVED pointed',
    file: 'redis/slot-sender.js',
    find: "if (step.kind === 'moved')\n            this.#view.move(step.slot, step.to);",
    replace: ''
  },
  {
    name: 'do not send the form for a moving slot',
    file: 'redis/slot-sender.js',
    find: "if (step.kind === 'half-moved' && command.inMigration !== undefined)",
    replace: 'if (false)'
  },
  {
    name: 'ignore sunsubscribe',
    file: 'redis/pubsub-connection.js',
    find: 'this.#events.onUnsubscribed(name, undefined);',
    replace: ';'
  },
  {
    name: 'never notice a silent subscription',
    file: 'redis/pubsub-connection.js',
    find: 'if (performance.now() - this.#heardAt > options.commandTimeoutMs)',
    replace: 'if (false)'
  },
  {
    name: 'never notice a silent connection',
    file: 'redis/connection.js',
    find: 'if (silentMs >= commandTimeoutMs)',
    replace: 'if (false)'
  },
  {
    name: 'drop the read-up after resubscribing',
    file: 'live/hub.js',
    find: 'onSubscribed: isSettled => {',
    replace: 'onSubscribed: isSettled => { if (room.heardAt !== 0) return;'
  },
  {
    name: 'no audit of quiet rooms',
    file: 'live/hub.js',
    find: 'const why = looks.takeDue(',
    replace: 'const why = false && looks.takeDue('
  },
  {
    name: 'no word of what was not published',
    file: 'store/peers.js',
    find: 'this.#doubted.add(channel);',
    replace: 'return;'
  },
  {
    name: 'nobody notices a process that vanished',
    file: 'store/peers.js',
    find: 'if (peer === this.#id)',
    replace: 'if (true)'
  },
  {
    name: 'forget what was dropped for want of space',
    file: 'live/early-frames.js',
    find: 'this.#droppedTo = Math.max(this.#droppedTo, lastOf(frames));',
    replace: ';'
  },
  {
    name: 'deliver what comes early',
    file: 'live/delivery.js',
    find: 'if (frames.first > next) {',
    replace: 'if (frames.first > next + 1) {'
  },
  {
    name: 'deliver what was delivered',
    file: 'live/delivery.js',
    find: 'this.#deliver(framesFrom(frames, next));',
    replace: 'this.#deliver({ ...framesFrom(frames, next), first: next - 1 });'
  },
  {
    name: 'do not compare the last message after a failover',
    file: 'live/room-sync.js',
    find: 'else if (timeOf(there.reference) !== knownMs)',
    replace: 'else if (false)'
  },
  {
    name: 'do not notice that the log was rewound',
    file: 'live/room-sync.js',
    find: 'if (head < known)',
    replace: 'if (false)'
  },
  {
    name: 'forget a reader on reset',
    file: 'live/room.js',
    find: 'for (const reader of [...this.#readers])\n            reader.reset(reason);',
    replace: 'for (const reader of [...this.#readers].slice(1))\n            reader.reset(reason);'
  },
  {
    name: 'mix pages of two pasts',
    file: 'live/room.js',
    find: 'if (epoch === this.epoch && !this.#delivery.isClosed)',
    replace: 'if (!this.#delivery.isClosed)'
  },
  {
    name: 'go live one too early',
    file: 'live/room.js',
    find: 'if (next !== this.#ring.next)',
    replace: 'if (next < this.#ring.next - 1)'
  },
  {
    name: 'a slow reader is served where it was',
    file: 'live/reader.js',
    find: 'this.#next = batch.first;',
    replace: 'this.#next = batch.first + 1;'
  },
  {
    name: 'believe any cursor',
    file: 'live/reader.js',
    find: 'if (contradiction !== undefined && this.#resets === 0)',
    replace: 'if (false)'
  },
  {
    name: 'no heartbeats',
    file: 'live/heartbeats.js',
    find: 'if (isSilent && !stream.isFull)',
    replace: 'if (false)'
  },
  {
    name: 'no deadline for a POST',
    file: 'store/admission.js',
    find: 'this.#timer ??= setTimeout(this.#expire, storeDeadlineMs);',
    replace: ''
  },
  {
    name: 'ids of a group one too high',
    file: 'message/message.js',
    find: 'Number(first.slice(dash + 1)) + offset',
    replace: 'Number(first.slice(dash + 1)) + offset + 1'
  },
  {
    name: 'publish a change as it was asked for',
    file: 'store/changes.js',
    find: 'this.#read(room, seq, { seq: at, reference }));',
    replace: 'this.#read(room, seq, { seq: at, reference }).then(change => ({ ...change, text })));'
  },
  {
    name: 'do not wait for the acknowledgement of a change',
    file: 'store/changes.js',
    find: 'await replicated;\n            }\n            catch (error) {',
    replace: '}\n            catch (error) {'
  },
  {
    name: 'a changed message stays in its block',
    file: 'store/block-scripts.js',
    find: "ARGV[2], ARGV[3], ARGV[4]))\nredis.call('XDEL', key, id)",
    replace: 'ARGV[2], ARGV[3], ARGV[4]))'
  },
  {
    name: 'a change is applied each time its request is repeated',
    file: 'store/block-scripts.js',
    find: "if token == ARGV[2] or kind == 'd' then",
    replace: "if kind == 'd' then"
  },
  {
    name: 'put back a text that was deleted',
    file: 'store/block-scripts.js',
    find: "if redis.call('HEXISTS', changed, id) == 1 or",
    replace: 'if'
  },
  {
    name: 'the ring keeps what a message said before',
    file: 'live/delivery.js',
    find: 'this.#ring.forget(seq);',
    replace: ';'
  },
  {
    name: 'what waits for a gap keeps what a message said before',
    file: 'live/delivery.js',
    find: 'if (this.#early.hasLaterChange(frames))',
    replace: 'if (false)'
  },
  {
    name: "count one's own messages as unread",
    file: 'store/dialog-scripts.js',
    find: 'if seq > read and not isOwn then',
    replace: 'if seq > read then'
  },
  {
    name: 'count a change as a message',
    file: 'store/dialog-scripts.js',
    find: "if string.find(reference, '/%d+%-%d+$') then",
    replace: 'if true then'
  },
  {
    name: 'a read mark goes back',
    file: 'store/dialog-scripts.js',
    find: 'local isMoved = seq > known',
    replace: 'local isMoved = seq ~= known'
  },
  {
    name: "a person's stream counts on after a reset",
    file: 'live/followed-dialog.js',
    find: 'if (isReset)',
    replace: 'if (false)'
  },
  {
    name: 'do not ask again after what a room has begun with',
    file: 'live/followed-dialog.js',
    find: 'if (!this.#isDropped && this.#counted >= 0)',
    replace: 'if (false)'
  },
  {
    name: 'believe old news of a removal',
    file: 'live/person.js',
    find: 'if (!this.#left(room))\n            return;\n        void this.sync();',
    replace: 'this.#left(room);'
  },
  {
    name: 'wait for the page that holds the deletion of a room',
    file: 'live/reader.js',
    find: 'if (seq < this.#room.horizon.known.first)\n                return [];',
    replace: ''
  },
  {
    name: 'leave the segment in which a deleted room began',
    file: 'store/room-cleaner.js',
    find: 'Math.max(0, generation - 1)',
    replace: 'generation'
  },
  {
    name: 'believe that a half-moved block is deleted',
    file: 'store/room-cleaner.js',
    find: '!(await this.#cluster.isStranded(key))',
    replace: 'true'
  },
  {
    name: 'what goes with its room is lost',
    file: 'store/history.js',
    find: 'return second.entries.filter(({ seq }) => seq >= from);',
    replace: 'return second.entries;'
  },
  {
    name: 'a change of what went with its room is refused as lost',
    file: 'store/changes.js',
    find: 'await refuseGone(this.#log, room, seq);\n        return lost(room, seq);',
    replace: 'return lost(room, seq);'
  },
  {
    name: 'any command may be the one that tries whether there is a replica',
    file: 'redis/node-pipeline.js',
    find: 'const refusal = needsReplica ? this.#replication?.refusal : undefined;',
    replace: 'const refusal = this.#replication?.refusal;'
  },
  {
    name: 'a room is deleted and its blocks stay',
    file: 'store/room-cleaner.js',
    find: 'await this.#cleanBlocks(room, user, generation);',
    replace: ''
  },
  {
    name: 'no replica needs to know that a user has begun a new block',
    file: 'store/numbers.js',
    find: 'await this.#keep(key, last, deadline);',
    replace: ''
  },
  {
    name: 'nobody finishes a deletion that was begun',
    file: 'store/deletions.js',
    find: '(await this.#unfinished.overdue())',
    replace: '[]'
  },
  {
    name: 'write on in the blocks of a deleted room',
    file: 'store/log-scripts.js',
    find: "if (deleted and string.match(deleted, '^%d+') or '0') ~= ARGV[5] then",
    replace: 'if false then'
  },
  {
    name: 'nobody is told that a room was deleted',
    file: 'live/room.js',
    find: 'else if (deletion.seq > this.head)',
    replace: 'else if (false)'
  },
  {
    name: 'show what has expired',
    file: 'store/horizon-search.js',
    find: 'timeOf(entry.reference) >= horizonMs',
    replace: 'true'
  },
  {
    name: 'blocks of rooms that forget do not expire',
    file: 'store/block-scripts.js',
    find: "redis.call('PEXPIREAT', KEYS[1], ARGV[1])",
    replace: ''
  },
  {
    name: 'segments of rooms that forget do not expire',
    file: 'store/sealer.js',
    find: 'this.#retention.expiryMs(room, newestMs)',
    replace: 'undefined'
  },
  {
    name: 'readers are not told that messages have expired while they were away',
    file: 'live/reader.js',
    find: 'if (this.#next < first)',
    replace:
      "if (this.#next < first && reason === 'trimmed') this.#next = first; else if (this.#next < first)"
  },
  {
    name: 'deliver a signal as a message',
    file: 'message/publication.js',
    find: 'event: signal',
    replace: 'id: 1\\nevent: signal'
  }
]
