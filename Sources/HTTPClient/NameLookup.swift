import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// Looks one name up for one connection, on threads of its own, and tells how long it took, or that it takes long.
///
/// The system's resolver blocks for as long as it likes; two of these threads may wait while the connection's own time
/// runs out. Addresses come in the order of RFC 6724; NIO tries them as RFC 8305 says (happy eyeballs), so that a dead
/// IPv6 way costs a quarter of a second.
final class NameLookup: Resolver, Sendable {
    typealias Source = @Sendable (_ host: String, _ port: Int) throws -> [SocketAddress]

    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    private let eventLoop: any EventLoop
    private let v4: EventLoopPromise<[SocketAddress]>
    private let v6: EventLoopPromise<[SocketAddress]>
    private let source: Source
    private let isBegun = Atomic<Bool>(false)
    private let observe: @Sendable (Observation) -> Void

    enum Observation: Equatable {
        /// There is no answer after `WebRoute.slowLookup`. On the event loop, at most once, and not after `done`.
        case waiting
        /// On one of the threads, once.
        case done(Duration, failed: Bool)
    }

    init(
        on eventLoop: any EventLoop, source: @escaping Source = NameLookup.system,
        observe: @escaping @Sendable (Observation) -> Void
    ) {
        self.eventLoop = eventLoop
        v4 = eventLoop.makePromise()
        v6 = eventLoop.makePromise()
        self.source = source
        self.observe = observe
    }

    deinit {
        guard !isBegun.load(ordering: .relaxed) else { return }
        v4.succeed([])
        v6.succeed([])
    }

    func initiateAAAAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
        begin(host, port)
        return v6.futureResult
    }

    func initiateAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
        begin(host, port)
        return v4.futureResult
    }

    /// The system's resolver can not be stopped; its answer then goes to nobody.
    func cancelQueries() {}

    private func begin(_ host: String, _ port: Int) {
        guard isBegun.compareExchange(expected: false, desired: true, ordering: .relaxed).exchanged else { return }
        // The system's resolver may wait for ten seconds and more: nobody should learn only then what holds everything up.
        let isDone = Mutex(false)
        let told = eventLoop.scheduleTask(in: TimeAmount(WebRoute.slowLookup)) { [observe] in
            isDone.withLock { if !$0 { observe(.waiting) } }
        }
        Self.threads.submit { [self] state in
            defer { told.cancel() }
            guard case .active = state else {
                v4.fail(ChannelError.eof)
                v6.fail(ChannelError.eof)
                return
            }
            let start = ContinuousClock.now
            let result = Result { try source(host, port) }
            let time = start.duration(to: .now)
            switch result {
            case .success(let addresses):
                isDone.withLock { $0 = true }
                observe(.done(time, failed: false))
                v6.succeed(addresses.filter { if case .v6 = $0 { true } else { false } })
                v4.succeed(addresses.filter { if case .v4 = $0 { true } else { false } })
            case .failure(let error):
                isDone.withLock { $0 = true }
                observe(.done(time, failed: true))
                v6.fail(error)
                v4.fail(error)
            }
        }
    }

    private static let threads: NIOThreadPool = {
        let pool = NIOThreadPool(numberOfThreads: 4)
        pool.start()
        return pool
    }()

    /// Leaves out the addresses that are not admitted; a name of none but those can not be looked up.
    static func only(_ admits: @escaping @Sendable ([UInt8]) -> Bool, of source: @escaping Source) -> Source {
        { host, port in
            let addresses = try source(host, port).filter { address in
                switch address {
                case .v4(let address): withUnsafeBytes(of: address.address.sin_addr) { admits(Array($0)) }
                case .v6(let address): withUnsafeBytes(of: address.address.sin6_addr) { admits(Array($0)) }
                case .unixDomainSocket: false
                }
            }
            guard !addresses.isEmpty else { throw Failure(description: "no address of \(host) may be connected to") }
            return addresses
        }
    }

    /// `getaddrinfo`: names, and addresses as text, also with a zone.
    static let system: Source = { host, port in
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_protocol = Int32(IPPROTO_TCP)
        var first: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, "\(port)", &hints, &first)
        guard code == 0 else {
            let reason = code == EAI_SYSTEM ? String(cString: strerror(errno)) : String(cString: gai_strerror(code))
            throw Failure(description: "the name \(host) can not be looked up: \(reason)")
        }
        defer { freeaddrinfo(first) }
        var addresses: [SocketAddress] = []
        var next = first
        while let entry = next?.pointee {
            if let address = entry.ai_addr {
                switch entry.ai_family {
                case AF_INET:
                    address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                        addresses.append(SocketAddress($0.pointee, host: host))
                    }
                case AF_INET6:
                    address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                        addresses.append(SocketAddress($0.pointee, host: host))
                    }
                default: break
                }
            }
            next = entry.ai_next
        }
        return addresses
    }
}
