import Diagnostics
import KMSClient
import Synchronization
import WireText

/// Carries strings to the KMS by the core, as this device; answers come by its event socket.
final class CloudCarrier: KMSCarrier {
    private let cloud: CloudService
    private let tokens: TokenSource
    private let slot: DeviceSlot
    private let events: EventSocket
    private let account: Account
    private let destination: String
    private let memory = TokenMemory()

    init(
        cloud: CloudService, tokens: TokenSource, slot: DeviceSlot, events: EventSocket, account: Account,
        destination: String
    ) {
        self.cloud = cloud
        self.tokens = tokens
        self.slot = slot
        self.events = events
        self.account = account
        self.destination = destination
    }

    func details() async throws -> [UInt8] { try await cloud.details(userID: account.id) }

    func send(_ messages: [String]) async throws {
        try await events.waitUntilReady()
        try await cloud.sendToKMS(messages, destination: destination, deviceURL: try await slot.device().url)
    }

    func credential(renewed: Bool) async throws -> KMSCredential {
        let tokens = try await memory.tokens(from: tokens, renewed: renewed)
        return KMSCredential(clientID: try await slot.device().url, userID: account.id, bearer: tokens.kms)
    }
}

extension CloudCarrier {
    func assertion(forKMS host: String) async -> Redacted<String>? { await tokens.assertion(for: "kms://" + host) }
}

/// Remembers which tokens were handed out last, to say which ones a server refused.
final class TokenMemory: Sendable {
    private let last = Mutex<Tokens?>(nil)

    func tokens(from source: TokenSource, renewed: Bool) async throws -> Tokens {
        let tokens = try await source.tokens(insteadOf: renewed ? last.withLock { $0 } : nil)
        last.withLock { $0 = tokens }
        return tokens
    }
}

/// Takes events from the socket to where they belong.
final class EventRouter: Sendable {
    /// The name of what happens to meetings, beside conversations.
    static let calendar = "calendar"

    private struct State {
        var kms: KMSConnection?
        var spaces: Spaces?
        var askForOrders: @Sendable () async -> Void = {}
        var reminders: [AsyncStream<String>.Continuation] = []
        var subscribers: [(conversation: String, signal: AsyncStream<Void>.Continuation)] = []
    }

    private let state = Mutex(State())

    /// - Parameter askForOrders: the core says that the authorization service has one.
    func connect(kms: KMSConnection, spaces: Spaces, askForOrders: @escaping @Sendable () async -> Void) {
        state.withLock {
            $0.askForOrders = askForOrders
            $0.kms = kms
            $0.spaces = spaces
        }
    }

    func deliver(_ event: CloudEvent) async {
        let (kms, spaces) = state.withLock { ($0.kms, $0.spaces) }
        switch event {
        case .kmsMessages(let messages): for message in messages { await kms?.receive(message) }
        case .activity(let activity):
            guard let conversation = activity.conversation else { return signalAll() }
            switch activity.kind {
            case .leave, .updateKey, .add: await spaces?.noteChange(inConversation: conversation)
            default: break
            }
            signal(conversation)
        case .calendar: signal(Self.calendar)
        case .reminder(let meeting):
            for listener in state.withLock({ $0.reminders }) { listener.yield(meeting) }
        case .wipe:
            await state.withLock({ $0.askForOrders })()
            // Who follows a space sees that there is nothing to follow with any more.
            signalAll()
        case .other: break
        }
    }

    private func signal(_ conversation: String) {
        let signals = state.withLock { $0.subscribers.filter { $0.conversation == conversation }.map(\.signal) }
        for signal in signals { signal.yield() }
    }

    /// After a reconnection: events may have been missed.
    func signalAll() {
        for subscriber in state.withLock({ $0.subscribers }) { subscriber.signal.yield() }
    }

    /// Ids of meetings that begin soon, as they are told.
    func reminders() -> AsyncStream<String> {
        let (stream, listener) = AsyncStream.makeStream(of: String.self, bufferingPolicy: .bufferingNewest(32))
        state.withLock { $0.reminders.append(listener) }
        return stream
    }

    func subscribe(_ conversation: String) -> AsyncStream<Void> {
        let (stream, signal) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        state.withLock { $0.subscribers.append((conversation, signal)) }
        return stream
    }
}
