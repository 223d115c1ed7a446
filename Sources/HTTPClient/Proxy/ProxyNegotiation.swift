import Cryptography
import Diagnostics
import WireText

/// The conversation with a proxy about one tunnel as a pure state machine: which CONNECT is sent, and what follows from
/// the answer.
///
/// It outlives a connection, for a proxy may close with its 407. At most three requests: one without or with what is
/// remembered, one with the answer to the challenge, one more when the nonce is stale.
struct ProxyNegotiation: Sendable {
    enum Step: Sendable {
        case established
        /// Send the next request, on this connection when it stays.
        case again
        case failed(DiagnosedError)
    }

    private static let maximumRequests = 3

    let proxy: WebProxy
    /// `HOST:PORT`, an IPv6 address in brackets.
    let target: String
    private var requests = 0
    private var digest: DigestSession?
    private var lastSent: DigestSession?
    private var sendsBasic: Bool
    /// Whether credentials that fit a challenge of this conversation have been sent.
    private var hasAnswered = false
    private let random: @Sendable () throws -> [UInt8]

    init(
        proxy: WebProxy, host: String, port: Int,
        random: @escaping @Sendable () throws -> [UInt8] = { try RandomBytes.bytes(16) }
    ) {
        self.proxy = proxy
        target = (host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]" : host) + ":\(port)"
        self.random = random
        digest = proxy.credentials == nil ? nil : proxy.nextDigest()
        sendsBasic = proxy.credentials != nil && proxy.basic == .always
    }

    /// The octets of the next request. Throws when the password can not be had.
    mutating func request() throws -> String {
        // The same request once more, on a new connection: no count goes out twice.
        if digest != nil, digest == lastSent { digest?.count += 1 }
        lastSent = digest
        requests += 1
        var text = "CONNECT \(target) HTTP/1.1\r\nHost: \(target)\r\n"
        if let value = try authorization() { text += "Proxy-Authorization: \(value)\r\n" }
        return text + "\r\n"
    }

    private func authorization() throws -> String? {
        guard let credentials = proxy.credentials else { return nil }
        if let digest {
            let cnonce = Hexadecimal.encode(try random())
            return digest.authorization(
                user: credentials.user, password: try credentials.password(), target: target, cnonce: cnonce)
        }
        guard sendsBasic else { return nil }
        return "Basic " + (try credentials.password().reveal { Base64.encode(Array("\(credentials.user):\($0)".utf8)) })
    }

    mutating func answered(_ answer: ConnectAnswer) -> Step {
        if (200..<300).contains(answer.status) {
            let info = answer.fields("proxy-authentication-info").first.map(ProxyChallenge.parameters)
            proxy.remember(digest?.following(info?["nextnonce"]))
            return .established
        }
        // tinyproxy says 401 where it does not know the user.
        if answer.status == 401, proxy.credentials != nil { return .failed(unknownUser(answer, [])) }
        guard answer.status == 407 else { return .failed(refused(answer)) }
        return challenged(answer)
    }

    private mutating func challenged(_ answer: ConnectAnswer) -> Step {
        let challenges = answer.fields("proxy-authenticate").flatMap(ProxyChallenge.all)
        guard proxy.credentials != nil else {
            return .failed(
                authentication(
                    answer, challenges, expected: "a proxy that asks nobody, or a user and a password",
                    hint: "set proxy.user and proxy.password, or let this machine pass the proxy unasked"))
        }
        let best = challenges.compactMap { challenge in DigestSession(challenge).map { ($0, challenge) } }
            .max { $0.0.algorithm.strength < $1.0.algorithm.strength }
        if hasAnswered {
            let isStale = best?.1["stale"]?.lowercased() == "true"
            guard isStale, digest != nil, let fresh = best?.0, requests < Self.maximumRequests else {
                proxy.remember(nil)
                return .failed(unknownUser(answer, challenges))
            }
            digest = fresh
            return .again
        }
        hasAnswered = true
        if let fresh = best?.0 {
            digest = fresh
            sendsBasic = false
            return .again
        }
        digest = nil
        let offersBasic = challenges.contains { $0.scheme == "basic" }
        guard offersBasic, proxy.basic != .never, !sendsBasic else {
            proxy.remember(nil)
            if offersBasic, sendsBasic { return .failed(unknownUser(answer, challenges)) }
            return .failed(
                authentication(
                    answer, challenges,
                    expected: "Digest with SHA-256 or MD5 and qop auth"
                        + (proxy.basic == .never ? " (Basic is switched off)" : ", or Basic"),
                    hint: "let the proxy offer one of these to this machine, or pass it unasked"))
        }
        sendsBasic = true
        return .again
    }

    // MARK: - Errors

    private func authentication(
        _ answer: ConnectAnswer, _ challenges: [ProxyChallenge], expected: String, hint: String
    ) -> DiagnosedError {
        let schemes = challenges.map { challenge in
            challenge.scheme + (challenge["algorithm"].map { " " + $0 } ?? "")
        }
        let offered = schemes.isEmpty ? "offering nothing" : "offering " + schemes.joined(separator: ", ").plain(80)
        return DiagnosedError(
            .proxyAuthentication, fault: .configuration, "the proxy \(proxy.name) does not let us to \(target)",
            expected: expected, found: "\(answer.text), \(offered)", hint: hint)
    }

    private func unknownUser(_ answer: ConnectAnswer, _ challenges: [ProxyChallenge]) -> DiagnosedError {
        authentication(
            answer, challenges, expected: "the proxy to know this user and password",
            hint: "check proxy.user and the file of proxy.password, and whether the account is locked")
    }

    private func refused(_ answer: ConnectAnswer) -> DiagnosedError {
        let hint =
            switch answer.status {
            case 403, 405: "allow CONNECT to \(target) in the proxy, or list the host under proxy.except"
            case 502, 503, 504: "the proxy could not reach the host: check name, port and the proxy's own DNS"
            default: "look into the log of the proxy"
            }
        return DiagnosedError(
            .proxyRefused, fault: .peer, "the proxy \(proxy.name) opens no tunnel to \(target)", expected: "status 200",
            found: answer.text, hint: hint)
    }

    func unreachable(_ found: String) -> DiagnosedError {
        DiagnosedError(
            .proxyUnreachable, fault: .peer, "the proxy \(proxy.name) can not be reached", found: found,
            hint: "check proxy.address, the firewall and whether the proxy runs")
    }

    func cut(_ found: String) -> DiagnosedError {
        DiagnosedError(
            .proxyUnreachable, fault: .peer, "the proxy \(proxy.name) ended the connection before its answer",
            expected: "an answer to CONNECT \(target)", found: found,
            hint: "check that proxy.address is that of an HTTP proxy, and look into its log")
    }

    func invalid(_ found: String) -> DiagnosedError {
        DiagnosedError(
            .proxyAnswerInvalid, fault: .peer, "the proxy \(proxy.name) gave no answer to CONNECT",
            expected: "an HTTP status of at most \(ConnectAnswer.maximumHeadBytes) octets", found: found,
            hint: "check that proxy.address is that of an HTTP proxy")
    }

    func timeout(_ limit: String) -> DiagnosedError {
        DiagnosedError(
            .proxyTimeout, fault: .peer, "the proxy \(proxy.name) did not answer in time",
            expected: "an answer to CONNECT \(target) within \(limit)",
            hint: "check the load of the proxy, and whether it can reach the host")
    }
}

extension DigestSession.Algorithm {
    fileprivate var strength: Int { self == .sha256 ? 2 : 1 }
}

extension String {
    /// What another side wrote, for an error: printable ASCII only, and not much of it.
    func plain(_ limit: Int) -> String {
        String(decoding: utf8.lazy.filter { (0x20...0x7E).contains($0) }.prefix(limit), as: UTF8.self)
    }
}
