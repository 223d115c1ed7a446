package import EDiscoveryModel

/// The items of one space while its messages go by, page by page, in the order of an export: a pure walk but for what it has opened.
///
/// In memory are one page and, of messages that are no hits so far, as many as stand before a hit as context.
package struct SpaceFlow: Sendable {
    /// Where to go on after the worker has ended.
    package struct Place: Sendable, Equatable {
        /// Everything up to here is given, or is not part of the report.
        package var sequence: UInt64
        /// Of the next messages, so many stand behind a hit.
        package var context: Int

        package init(sequence: UInt64, context: Int) { (self.sequence, self.context) = (sequence, context) }
    }

    private enum Waiting: Sendable {
        /// Context of a hit that may come.
        case message(SpaceLog.Message, CollectedItem?)
        /// An event of the space; waits because something before it does.
        case event(CollectedItem)

        var sequence: UInt64 {
            switch self {
            case .message(let message, _): message.sequence
            case .event(let item): item.sequence
            }
        }
    }

    private let collection: SpaceCollection
    private let log: SpaceLog
    private var presence: Presence
    /// Events that no page has come to; nil before the first page.
    private var events: ArraySlice<CollectedItem>?
    private var waiting: [Waiting] = []
    private var messagesWaiting = 0
    private var last: UInt64
    private var context: Int
    /// Nothing of the space was given before.
    private let isFresh: Bool

    /// - Parameters:
    ///   - log: who is in the space; its messages are not looked at.
    ///   - place: nil for the beginning.
    package init(_ collection: SpaceCollection, _ log: SpaceLog, from place: Place? = nil) {
        self.collection = collection
        self.log = log
        presence = Presence(log)
        isFresh = place == nil
        (last, context) = (place?.sequence ?? 0, place?.context ?? 0)
    }

    /// What is given so far goes up to here.
    package var place: Place {
        guard let first = waiting.first else { return Place(sequence: last, context: context) }
        return Place(sequence: max(1, first.sequence) - 1, context: 0)
    }

    /// The next messages in the order of their sequence.
    package mutating func take(_ messages: [SpaceLog.Message]) async throws -> [CollectedItem] {
        var found: [CollectedItem] = []
        let judged = try await judge(messages)
        for (message, judgement) in zip(messages, judged) {
            try await takeEvents(before: message.sequence, &found)
            last = message.sequence
            if judgement.isHit, let item = judgement.item {
                try await giveWaiting(&found)
                found.append(item)
                context = collection.after
            } else if context > 0 {
                context -= 1
                try await give(message, judgement.item, &found)
            } else if collection.before > 0 {
                waiting.append(.message(message, judgement.item))
                messagesWaiting += 1
                dropOldest(&found)
            }
        }
        return found
    }

    /// No message is left.
    package mutating func end() async throws -> [CollectedItem] {
        var found: [CollectedItem] = []
        try await takeEvents(before: .max, &found)
        for case .event(let item) in waiting { found.append(item) }
        (waiting, messagesWaiting) = ([], 0)
        return found
    }

    private mutating func takeEvents(before sequence: UInt64, _ found: inout [CollectedItem]) async throws {
        if events == nil {
            let all = try await collection.events(of: log)
            events = isFresh ? all[...] : all.drop { $0.sequence <= last }
        }
        while let next = events?.first, next.sequence < sequence {
            events?.removeFirst()
            if waiting.isEmpty { found.append(next) } else { waiting.append(.event(next)) }
            last = max(last, next.sequence)
        }
    }

    private mutating func giveWaiting(_ found: inout [CollectedItem]) async throws {
        let all = waiting
        (waiting, messagesWaiting) = ([], 0)
        for one in all {
            switch one {
            case .message(let message, let item): try await give(message, item, &found)
            case .event(let item): found.append(item)
            }
        }
    }

    private mutating func give(
        _ message: SpaceLog.Message, _ opened: CollectedItem?, _ found: inout [CollectedItem]
    ) async throws {
        guard let item = try await collection.context(message, opened, &presence, log.id) else { return }
        found.append(item)
    }

    /// More wait than can be context: the first goes, and events behind it are certain.
    private mutating func dropOldest(_ found: inout [CollectedItem]) {
        guard messagesWaiting > collection.before else { return }
        waiting.removeFirst()
        messagesWaiting -= 1
        while case .event(let item)? = waiting.first {
            found.append(item)
            waiting.removeFirst()
        }
    }

    // MARK: - Both cores

    private typealias Judgement = (item: CollectedItem?, isHit: Bool)

    private static let smallest = 64

    /// Messages are opened in two halves at once; what comes of them is in their order.
    private func judge(_ messages: [SpaceLog.Message]) async throws -> [Judgement] {
        guard messages.count >= Self.smallest else { return try await judge(messages[...], presence) }
        let middle = messages.count / 2
        async let first = judge(messages[..<middle], presence)
        async let second = judge(messages[middle...], presence)
        return try await first + second
    }

    private func judge(_ messages: ArraySlice<SpaceLog.Message>, _ known: Presence) async throws -> [Judgement] {
        var presence = known
        var judged: [Judgement] = []
        judged.reserveCapacity(messages.count)
        for message in messages { judged.append(try await collection.judge(message, &presence, log.id)) }
        return judged
    }
}
