import Synchronization

/// The id of a call that may be given up before it has one.
final class LinkCallID: Sendable {
    private struct State {
        var id: UInt64?
        var isOver = false
    }

    private let state = Mutex(State())

    /// Runs under the conversation's lock, so what is over already is ended from another task.
    func begin(_ id: UInt64, _ conversation: LinkConversation) {
        let isOver = state.withLock { state in
            state.id = id
            return state.isOver
        }
        if isOver { Task { conversation.abandon(id) } }
    }

    func end(_ conversation: LinkConversation) {
        let id = state.withLock { state in
            state.isOver = true
            return state.id
        }
        if let id { conversation.abandon(id) }
    }
}
