import JOSEEncryption
import Synchronization

/// Keeps the requests of one session in their order while different sessions run side by side.
///
/// Several deployed clients match answers to requests by order (protocol, section 5). A lane is the header text of the
/// wrapped string: all requests of a session by one client carry the same. Handshakes of one sender share a lane, so that a
/// client that retries in a loop opens one session at a time, and only a few of them wait. The number of strings waiting
/// over all lanes is bounded.
package final class RequestLanes: Sendable {
    private struct Item: Sendable {
        let text: [UInt8]
        let source: String
        let answer: @Sendable (RequestHandler.Reply) -> Void
    }

    private struct State {
        var lanes: [[UInt8]: [Item]] = [:]
        var waiting = 0
        var idle: [CheckedContinuation<Void, Never>] = []
    }

    /// How many handshakes of one sender wait behind the one under way.
    private static let maximumHandshakes = 8

    private let handler: RequestHandler
    private let workers: any TaskExecutor
    private let maximumWaiting: Int
    private let state = Mutex(State())

    package init(handler: RequestHandler, workers: any TaskExecutor, maximumWaiting: Int = 10_000) {
        self.handler = handler
        self.workers = workers
        self.maximumWaiting = maximumWaiting
    }

    /// How many strings wait or are being answered.
    package var waiting: Int { state.withLock { $0.waiting } }

    /// Takes one string; `answer` is called exactly once, from a worker or at once when too many wait.
    package func submit(
        _ text: [UInt8], source: String, answer: @escaping @Sendable (RequestHandler.Reply) -> Void
    ) {
        let lane = Self.lane(of: text, source: source)
        let item = Item(text: text, source: source, answer: answer)
        enum Step { case refuse, storm, start, queued }
        let step = state.withLock { state -> Step in
            guard state.waiting < maximumWaiting else { return .refuse }
            if let queue = state.lanes[lane.name] {
                guard !lane.isHandshake || queue.count < Self.maximumHandshakes else { return .storm }
                state.waiting += 1
                state.lanes[lane.name]?.append(item)
                return .queued
            }
            state.waiting += 1
            state.lanes[lane.name] = []
            return .start
        }
        switch step {
        case .refuse: answer(.decline("too many requests wait"))
        case .storm: answer(.drop("too many session openings of this sender"))
        case .queued: break
        case .start: Task(executorPreference: workers) { await self.run(item, lane.name) }
        }
    }

    /// Returns when nothing waits any more.
    package func drain() async {
        await withCheckedContinuation { continuation in
            let isIdle = state.withLock { state in
                if state.waiting == 0 { return true }
                state.idle.append(continuation)
                return false
            }
            if isIdle { continuation.resume() }
        }
    }

    private func run(_ first: Item, _ lane: [UInt8]) async {
        var item = first
        while true {
            item.answer(await handler.reply(to: item.text, source: item.source))
            let (next, idle) = state.withLock { state -> (Item?, [CheckedContinuation<Void, Never>]) in
                state.waiting -= 1
                if let waiting = state.lanes[lane], !waiting.isEmpty {
                    state.lanes[lane]?.removeFirst()
                    return (waiting[0], [])
                }
                state.lanes[lane] = nil
                guard state.waiting == 0 else { return (nil, []) }
                defer { state.idle = [] }
                return (nil, state.idle)
            }
            for continuation in idle { continuation.resume() }
            guard let next else { return }
            item = next
        }
    }

    /// The header text; for a handshake its sender or, without one, the header with the encrypted key behind it.
    private static func lane(of text: [UInt8], source: String) -> (name: [UInt8], isHandshake: Bool) {
        let head = text.prefix(2048)
        guard let dot = head.firstIndex(of: UInt8(ascii: ".")) else { return (Array(head.prefix(64)), false) }
        if dot + 1 < head.endIndex && head[dot + 1] == UInt8(ascii: ".") { return (Array(head[..<dot]), false) }
        guard source.isEmpty else { return (Array("handshake ".utf8) + source.utf8, true) }
        return (Array(head.prefix(min(head.count, dot + 64))), true)
    }
}
