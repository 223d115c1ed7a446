import Diagnostics
import Glibc
import Synchronization
import WireText

/// The thread of a control socket: waits with poll, moves octets between the kernel and the conversations.
final class ControlLoop: Sendable {
    /// What tasks leave for the thread.
    private struct Mail {
        var messages: [Message] = []
        var isStopping = false
        var isStopped = false
        var waiters: [CheckedContinuation<Void, Never>] = []
        /// Connections that are still there; what speaks to others is dropped.
        var open: Set<UInt64> = []
    }
    private enum Message {
        case answer(UInt64, [UInt8])
        case progress(UInt64, [UInt8])
    }

    private let configuration: ControlSocket.Configuration
    private let handler: any ControlHandler
    private let clock: @Sendable () -> Int64
    private let mail = Mutex(Mail())
    /// A pair of sockets: an octet on the first ends a wait on the second.
    private let bell: (rope: Int32, sound: Int32)
    /// Taken by the thread when it starts.
    private let file: Mutex<SocketFile?>

    init(
        _ configuration: ControlSocket.Configuration, _ handler: any ControlHandler,
        _ clock: @escaping @Sendable () -> Int64
    ) throws(DiagnosedError) {
        self.configuration = configuration
        self.handler = handler
        self.clock = clock
        file = Mutex(try SocketFile(path: configuration.path, group: configuration.access.group))
        var ends: [Int32] = [-1, -1]
        let kind = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else {
            file.withLock { $0.take()?.remove() }
            bell = (-1, -1)
            throw .control(
                .controlSocket, .internal, "the control socket can not be set up",
                found: String(cString: strerror(errno)), hint: "see how many files the service has open")
        }
        bell = (ends[0], ends[1])
    }

    deinit {
        close(bell.rope)
        close(bell.sound)
    }

    func start() {
        var thread = pthread_t()
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        defer { pthread_attr_destroy(&attributes) }
        let status = pthread_create(
            &thread, &attributes,
            { argument in
                Unmanaged<ControlLoop>.fromOpaque(argument!).takeRetainedValue().run()
                return nil
            }, Unmanaged.passRetained(self).toOpaque())
        // A process that can not make a thread at its start is of no use.
        precondition(status == 0, "the thread of the control socket can not be made")
    }

    func stop() async {
        await withCheckedContinuation { continuation in
            let isStopped = mail.withLock { mail in
                mail.isStopping = true
                if !mail.isStopped { mail.waiters.append(continuation) }
                return mail.isStopped
            }
            if isStopped { continuation.resume() } else { wake() }
        }
    }

    func askToStop() {
        mail.withLock { $0.isStopping = true }
        wake()
    }

    /// A bell that is full rings anyway.
    func wake() {
        var octet: UInt8 = 0
        _ = send(bell.rope, &octet, 1, Int32(MSG_NOSIGNAL))
    }

    // MARK: The thread

    private struct Connection {
        let descriptor: Int32
        let peer: PeerCredentials?
        var conversation: ControlConversation
        var task: Task<Void, Never>?
    }

    private func run() {
        guard let file = file.withLock({ $0.take() }) else { return }
        var connections: [UInt64: Connection] = [:]
        var nextNumber: UInt64 = 0
        // While the process has no room for another connection the listener is left alone, else poll would never wait.
        var isFull = false
        while !mail.withLock({ $0.isStopping }) {
            let order = connections.keys.sorted()
            var events = [pollfd(fd: bell.sound, events: Int16(POLLIN), revents: 0)]
            events.append(pollfd(fd: isFull ? -1 : file.descriptor, events: Int16(POLLIN), revents: 0))
            for number in order { events.append(Self.interest(connections[number]!)) }
            let due = connections.values.compactMap(\.conversation.due).min()
            var wait = due.map { Int32(clamping: max(0, min($0 - clock(), 60_000))) } ?? -1
            if isFull { wait = wait < 0 ? 500 : min(wait, 500) }
            // A clock that is handed in may stand still; the bell says when to look at it again.
            poll(&events, nfds_t(events.count), wait)
            var octets = [UInt8](repeating: 0, count: 64)
            while recv(bell.sound, &octets, octets.count, 0) > 0 {}
            deliver(&connections)
            for (index, number) in order.enumerated() where connections[number] != nil {
                turn(number, Int32(events[index + 2].revents), &connections)
            }
            if events[1].revents != 0 || isFull { isFull = !accept(file.descriptor, &connections, &nextNumber) }
        }
        for connection in connections.values {
            connection.task?.cancel()
            close(connection.descriptor)
        }
        file.remove()
        let waiters = mail.withLock { mail in
            mail.isStopped = true
            mail.open = []
            mail.messages = []
            defer { mail.waiters = [] }
            return mail.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    private static func interest(_ connection: Connection) -> pollfd {
        var events: Int32 = 0
        if connection.conversation.wantsInput { events |= POLLIN }
        if connection.conversation.hasOutput { events |= POLLOUT }
        // Without any interest poll still tells that the peer is gone.
        return pollfd(fd: connection.descriptor, events: Int16(events), revents: 0)
    }

    /// False when the process has no room for another connection.
    private func accept(
        _ listener: Int32, _ connections: inout [UInt64: Connection], _ next: inout UInt64
    ) -> Bool {
        // A few at a time, so that a flood of newcomers does not hold up those who are there.
        for _ in 0..<64 {
            let descriptor = Glibc.accept(listener, nil, nil)
            guard descriptor >= 0 else { return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED }
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            guard fcntl(descriptor, F_SETFL, O_NONBLOCK) == 0 else {
                close(descriptor)
                continue
            }
            let peer = PeerCredentials(of: descriptor)
            guard let peer, configuration.access.allows(peer) else {
                Self.dismiss(
                    descriptor,
                    .control(
                        .controlRefused, .client, "this user may not use the control socket",
                        expected: "root, the service's user or a member of its operators' group",
                        found: peer.map { "user \($0.uid)" } ?? "nobody that the kernel knows",
                        hint: "use sudo, or ask for membership in the operators' group"))
                continue
            }
            guard connections.count < configuration.maximumConnections else {
                Self.dismiss(
                    descriptor,
                    .control(
                        .controlTooMany, .peer, "too many connections to the control socket",
                        expected: "at most \(configuration.maximumConnections)", hint: "try again in a minute"))
                continue
            }
            next += 1
            connections[next] = Connection(
                descriptor: descriptor, peer: peer,
                conversation: ControlConversation(limits: configuration.limits, now: clock()))
            let number = next
            mail.withLock { _ = $0.open.insert(number) }
        }
        return true
    }

    /// Says why and closes; a new connection has room for one line.
    private static func dismiss(_ descriptor: Int32, _ error: DiagnosedError) {
        let line = ControlLine.failure(nil, error)
        _ = line.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        close(descriptor)
    }

    private func deliver(_ connections: inout [UInt64: Connection]) {
        let messages = mail.withLock { mail in
            defer { mail.messages = [] }
            return mail.messages
        }
        for message in messages {
            switch message {
            case .answer(let number, let line):
                connections[number]?.task = nil
                connections[number]?.conversation.answered(line, now: clock())
            case .progress(let number, let line):
                _ = connections[number]?.conversation.progressed(line, now: clock())
            }
        }
    }

    /// All that a connection can do now.
    private func turn(_ number: UInt64, _ events: Int32, _ connections: inout [UInt64: Connection]) {
        var action: ControlConversation.Action?
        if events & (POLLERR | POLLNVAL) != 0 || events & POLLHUP != 0 && events & POLLIN == 0 {
            action = .close
        } else if events & POLLIN != 0, connections[number]!.conversation.wantsInput {
            action = receive(&connections[number]!)
        }
        if action == nil { action = connections[number]!.conversation.expired(now: clock()) }
        while true {
            switch action {
            case .close:
                drop(number, &connections)
                return
            case .perform(let line):
                connections[number]!.task = task(for: line, number, connections[number]!.peer)
                return
            case nil:
                guard connections[number]!.conversation.hasOutput else { return }
                let pending = connections[number]!.conversation.pending
                let count = pending.withUnsafeBytes {
                    send(connections[number]!.descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                if count < 0 {
                    if errno == EAGAIN || errno == EINTR { return }
                    action = .close
                } else {
                    action = connections[number]!.conversation.wrote(count, now: clock())
                }
            }
        }
    }

    private func receive(_ connection: inout Connection) -> ControlConversation.Action? {
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        let count = recv(connection.descriptor, &chunk, chunk.count, 0)
        if count > 0 { return connection.conversation.received(chunk[..<count], now: clock()) }
        if count < 0, errno == EAGAIN || errno == EINTR { return nil }
        return count == 0 ? connection.conversation.receivedEnd() : .close
    }

    private func drop(_ number: UInt64, _ connections: inout [UInt64: Connection]) {
        guard let connection = connections.removeValue(forKey: number) else { return }
        close(connection.descriptor)
        mail.withLock { _ = $0.open.remove(number) }
    }

    // MARK: Tasks

    private func task(for line: [UInt8], _ number: UInt64, _ peer: PeerCredentials?) -> Task<Void, Never> {
        Task { post(.answer(number, await answer(to: line, number, peer)), from: number) }
    }

    @concurrent
    private func answer(to line: [UInt8], _ number: UInt64, _ peer: PeerCredentials?) async -> [UInt8] {
        var id: String?
        do {
            let request = try ControlRequest(line: line)
            id = request.id
            // Nobody without credentials got past the door.
            guard let peer else { throw DiagnosedError.control(.controlRefused, .client, "nobody is known to ask") }
            if request.command == "ping" { return ControlLine.success(request.id, pong(peer)) }
            let progress = ControlProgress { [weak self, id = request.id] text in
                self?.post(.progress(number, ControlLine.progress(id, text)), from: number) ?? false
            }
            let answer = try await handler.perform(request, peer: peer, progress: progress)
            guard answer.result.utf8.count <= ControlAnswer.maximumBytes else {
                throw DiagnosedError.control(.controlFailure, .internal, "the answer is too long")
            }
            return ControlLine.success(request.id, answer)
        } catch let error as DiagnosedError {
            return ControlLine.failure(id, error)
        } catch {
            return ControlLine.failure(
                id,
                .control(
                    .controlFailure, .internal, "the command failed", found: "\(type(of: error))",
                    hint: "see the service's journal"))
        }
    }

    private func pong(_ peer: PeerCredentials) -> ControlAnswer {
        ControlAnswer { json in
            json.member("service", configuration.identity.service)
            json.member("host", configuration.identity.host)
            json.member("node", configuration.identity.node)
            json.member("version", configuration.identity.version)
            json.member("pid", Int(getpid()))
            json.member("user", Int(peer.uid))
        }
    }

    /// Whether the connection is still there.
    @discardableResult
    private func post(_ message: Message, from number: UInt64) -> Bool {
        let isOpen = mail.withLock { mail in
            guard mail.open.contains(number) else { return false }
            mail.messages.append(message)
            return true
        }
        if isOpen { wake() }
        return isOpen
    }
}
