import NIOCore
import Synchronization

/// The connections of a server that are open, so that a shutdown can cut what does not end by itself. Any thread.
final class OpenChannels: Sendable {
    private let state = Mutex<(channels: [ObjectIdentifier: any Channel], isClosing: Bool)>(([:], false))

    var isClosing: Bool { state.withLock { $0.isClosing } }
    var count: Int { state.withLock { $0.channels.count } }

    func add(_ channel: any Channel) {
        let id = ObjectIdentifier(channel)
        state.withLock { $0.channels[id] = channel }
        channel.closeFuture.whenComplete { [weak self] _ in
            _ = self?.state.withLock { $0.channels.removeValue(forKey: id) }
        }
    }

    /// New connections are turned away from now on.
    func beginClosing() { state.withLock { $0.isClosing = true } }

    func cut() {
        let channels = state.withLock { Array($0.channels.values) }
        for channel in channels { channel.close(promise: nil) }
    }
}
