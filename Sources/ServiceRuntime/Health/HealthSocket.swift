import CSystemd
import Diagnostics
import Glibc
import NIOCore

/// The listening socket of the health address, which outlives the process under systemd.
///
/// A connection that comes while no process is there waits in the socket's queue and is answered by the next one. Where the
/// socket comes from, in this order:
/// 1. a socket unit, under the name `health` (`hds-kms-health.socket`; systemd.socket(5), FileDescriptorName=);
/// 2. an earlier process of this service, which systemd kept it for under the name `kept-health` (sd_pid_notify_with_fds(3),
///    FDSTORE=1; systemd lets go of it when the service is stopped, so that nothing listens then);
/// 3. opened now.
///
/// Whatever it is, systemd is given it to keep.
/// One of another address than the configuration's is never used: the configuration has decided who may connect.
struct HealthSocket: Sendable {
    /// A descriptor that systemd handed over.
    struct Handed: Sendable {
        let name: String
        let descriptor: Int32
    }

    static let fromUnit = "health"
    static let kept = "kept-health"

    let descriptor: Int32
    let origin: Origin
    /// Of the socket, not of the configuration: with the port that the system chose.
    let address: NetworkAddress
    /// That of a socket unit that listens elsewhere, where nobody answers.
    let ignored: NetworkAddress?

    enum Origin: Sendable {
        case unit, kept, new
    }

    /// - Parameter handed: what systemd handed over; each descriptor belongs to the socket from now on.
    static func open(_ address: NetworkAddress, handed: [Handed], keeper: Keeper = .systemd) throws -> HealthSocket {
        var found: (Handed, NetworkAddress)?
        var ignored: NetworkAddress?
        var (isKept, isKeptElsewhere) = (false, false)
        for socket in handed where socket.name == fromUnit || socket.name == kept {
            let place = listeningAddress(of: socket.descriptor)
            if let place, isSame(place, address) {
                if socket.name == kept { isKept = true }
                // The same one twice: by its unit, and kept.
                if found == nil { found = (socket, place) } else { close(socket.descriptor) }
                continue
            }
            close(socket.descriptor)
            if socket.name == kept { isKeptElsewhere = true } else { ignored = place ?? ignored }
        }
        // It would be kept for ever, and its port with it.
        if isKeptElsewhere { keeper.remove(kept) }
        if let (socket, place) = found {
            _ = fcntl(socket.descriptor, F_SETFD, FD_CLOEXEC)
            // A unit's too: systemd closes the unit when the service crashes, and keeps what was given to it.
            if !isKept { keeper.keep(socket.descriptor, kept) }
            return HealthSocket(
                descriptor: socket.descriptor, origin: socket.name == kept ? .kept : .unit, address: place,
                ignored: ignored)
        }
        let descriptor = try listen(on: address)
        keeper.keep(descriptor, kept)
        return HealthSocket(
            descriptor: descriptor, origin: .new, address: listeningAddress(of: descriptor) ?? address,
            ignored: ignored)
    }

    /// What an operator should know.
    func warning(of service: Loggable, configured: NetworkAddress) -> StandingWarning? {
        ignored.map {
            StandingWarning(
                "health-socket",
                """
                \(service)-health.socket listens on \(reviewed: $0.description), where nobody answers: configured is \
                \(reviewed: configured.description)
                """,
                fix: "give both the same address (systemctl edit), or: systemctl disable --now \(service)-health.socket"
            )
        }
    }

    /// Who keeps a descriptor for the next process.
    struct Keeper: Sendable {
        let keep: @Sendable (_ descriptor: Int32, _ name: String) -> Void
        let remove: @Sendable (_ name: String) -> Void

        /// systemd; nobody where the service was not started by it. Not watched (FDPOLL=0): it is no connection.
        static let systemd = Keeper(
            keep: { descriptor, name in
                var descriptor = descriptor
                _ = sd_pid_notify_with_fds(0, 0, "FDSTORE=1\nFDNAME=\(name)\nFDPOLL=0", &descriptor, 1)
            },
            remove: { name in
                _ = sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=\(name)")
                // Only then its port is free.
                _ = sd_notify_barrier(0, 5_000_000)
            })
    }

    /// What systemd handed over to this process (sd_listen_fds_with_names(3)); nothing outside of systemd.
    static func handedToProcess() -> [Handed] {
        var names: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
        let count = sd_listen_fds_with_names(0, &names)
        guard count > 0, let names else { return [] }
        defer { free(names) }
        return (0..<Int(count)).map { index in
            let name = names[index].map { String(cString: $0) } ?? ""
            free(names[index])
            return Handed(name: name, descriptor: 3 + Int32(index))
        }
    }

    // MARK: - Helpers

    private static func listen(on address: NetworkAddress) throws -> Int32 {
        func failure(_ code: Int32) -> DiagnosedError {
            DiagnosedError(
                .healthAddressUnavailable, fault: .configuration, "the health address \(address) can not be opened",
                expected: "a free address of this machine", found: String(cString: strerror(code)),
                hint: "set runtime.health.address to another port, or end what listens there (ss -ltnp); a socket unit "
                    + "(systemctl list-sockets) listens there too")
        }
        guard let place = try? SocketAddress.makeAddressResolvingHost(address.host, port: address.port) else {
            throw failure(EADDRNOTAVAIL)
        }
        let family = place.protocol == .inet6 ? AF_INET6 : AF_INET
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let descriptor = socket(family, kind, 0)
        guard descriptor >= 0 else { throw failure(errno) }
        var yes: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        let isBound = place.withSockAddr { bind(descriptor, $0, socklen_t($1)) } == 0
        guard isBound, Glibc.listen(descriptor, 256) == 0 else {
            let code = errno
            close(descriptor)
            throw failure(code)
        }
        return descriptor
    }

    /// Nil for what is no listening socket of TCP.
    static func listeningAddress(of descriptor: Int32) -> NetworkAddress? {
        var isListening: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &isListening, &length) == 0, isListening == 1 else {
            return nil
        }
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { address -> NetworkAddress? in
                guard getsockname(descriptor, address, &size) == 0 else { return nil }
                var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
                var port = [CChar](repeating: 0, count: Int(NI_MAXSERV))
                guard
                    getnameinfo(
                        address, size, &host, socklen_t(host.count), &port, socklen_t(port.count),
                        NI_NUMERICHOST | NI_NUMERICSERV) == 0
                else { return nil }
                func text(_ characters: [CChar]) -> String {
                    String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
                }
                return Int(text(port)).map { NetworkAddress(host: text(host), port: $0) }
            }
        }
    }

    private static func isSame(_ found: NetworkAddress, _ configured: NetworkAddress) -> Bool {
        guard found.port == configured.port else { return false }
        if configured.host == "localhost" { return found.isLoopback }
        guard let wanted = try? SocketAddress(ipAddress: configured.host, port: configured.port),
            let place = try? SocketAddress(ipAddress: found.host, port: found.port)
        else { return configured.host == found.host }
        return wanted == place
    }
}
