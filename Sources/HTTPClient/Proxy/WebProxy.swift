package import Diagnostics
import Synchronization
package import TLSChannel

/// An HTTP proxy through which connections are tunnelled (CONNECT, RFC 9110 section 9.3.6).
///
/// Any thread; one object for all clients that go through it, for it remembers the proxy's Digest nonce. The name of the
/// target goes to the proxy as it is: nothing is looked up here.
package final class WebProxy: Sendable {
    /// When the password may be sent as it is (RFC 7617).
    package enum BasicUse: String, Sendable, CaseIterable {
        case never
        case whenAsked = "when-asked"
        case always
    }

    /// Who the proxy knows this client as. The password is asked for at each use, so that a new one counts at once.
    package struct Credentials: Sendable {
        package var user: String
        package var password: @Sendable () throws -> Redacted<String>

        package init(user: String, password: @escaping @Sendable () throws -> Redacted<String>) {
            self.user = user
            self.password = password
        }
    }

    /// A name or an address, without brackets.
    package let host: String
    package let port: Int
    let credentials: Credentials?
    let basic: BasicUse
    /// How the proxy itself is judged; nil: the way to it is plain, as with most.
    let tls: TLSConfiguration?
    private let exceptions: [String]
    private let remembered = Mutex<DigestSession?>(nil)

    /// - Parameter exceptions: targets that are reached without it: a host name or address, or `.example.com` for that
    ///   domain and all names below.
    package init(
        host: String, port: Int, credentials: Credentials? = nil, basic: BasicUse = .whenAsked, trust: TLSTrust? = nil,
        exceptions: [String] = []
    ) throws(DiagnosedError) {
        self.host = host
        self.port = port
        self.credentials = credentials
        self.basic = basic
        if let trust { tls = try TLSConfiguration.client(trust: trust) } else { tls = nil }
        self.exceptions = exceptions.map { $0.lowercased() }
    }

    /// As people write it.
    package var name: String { host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]:\(port)" : "\(host):\(port)" }

    func isFor(_ target: String) -> Bool {
        !exceptions.contains { exception in
            exception.hasPrefix(".")
                ? target.hasSuffix(exception) || target == exception.dropFirst() : target == exception
        }
    }

    /// The session that the last tunnel left, with the next count of its nonce, which nobody else is given.
    func nextDigest() -> DigestSession? {
        remembered.withLock { session in
            session?.count += 1
            return session
        }
    }

    func remember(_ session: DigestSession?) {
        remembered.withLock { held in
            var next = session
            // Another tunnel may have used the same nonce meanwhile.
            if let session, let present = held, present.nonce == session.nonce {
                next?.count = max(session.count, present.count)
            }
            held = next
        }
    }
}

/// The way of a client's connections: through which proxy, and who is told how it went.
package struct WebRoute: Sendable {
    package enum Report: Sendable {
        /// A name was looked up here, or could not be.
        case lookup(host: String, time: Duration, failed: Bool)
        /// A name has no answer yet after `slowLookup`; `lookup` follows when it has one.
        case lookupWaits(host: String)
        /// A tunnel to that target stands; nil, or does not, with why.
        case tunnel(target: String, failure: DiagnosedError?)
    }

    /// From then on a lookup is slow: a connection has ten seconds in all.
    package static let slowLookup = Duration.seconds(2)

    private let current: @Sendable () -> WebProxy?
    /// Any thread; must not block.
    package let observe: @Sendable (Report) -> Void
    /// Which addresses, in 4 or 16 octets, are connected to; nil: all. Judged after the lookup, for each connection.
    package var admits: (@Sendable (_ octets: [UInt8]) -> Bool)?

    /// Without a proxy, and to these addresses only.
    package init(admits: @escaping @Sendable (_ octets: [UInt8]) -> Bool) {
        self.init(proxy: nil)
        self.admits = admits
    }

    package init(proxy: WebProxy? = nil, observe: @escaping @Sendable (Report) -> Void = { _ in }) {
        self.init(current: { proxy }, observe: observe)
    }

    /// - Parameter current: asked for each connection, for a proxy that may be replaced.
    package init(current: @escaping @Sendable () -> WebProxy?, observe: @escaping @Sendable (Report) -> Void) {
        self.current = current
        self.observe = observe
    }

    package var proxy: WebProxy? { current() }

    package static let direct = WebRoute()
}

extension DiagnosedError.Code {
    /// No connection to the proxy, or it ends before its answer.
    package static let proxyUnreachable: Self = "proxy-unreachable"
    package static let proxyTimeout: Self = "proxy-timeout"
    /// The proxy wants to know who asks, and does not take what it was told.
    package static let proxyAuthentication: Self = "proxy-authentication"
    /// The proxy does not let this target be reached, or can not reach it.
    package static let proxyRefused: Self = "proxy-refused"
    /// What came is no answer to CONNECT.
    package static let proxyAnswerInvalid: Self = "proxy-answer-invalid"
}
