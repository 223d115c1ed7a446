import Cryptography
import Diagnostics
import HTTPClient
import LinkedService
import ServiceRuntime
import Synchronization
import TLSChannel
import WebSocketChannel
import WireText

/// The ways out, gone once as the service goes them: names, proxy, TLS and pins of the core, its WebSocket, clocks, the
/// authorization service with what it tells clients.
struct DoctorNetwork {
    /// A reading of another machine's clock.
    private struct Reading {
        let host: String
        /// How far it is ahead of this machine's.
        let milliseconds: Int64
    }

    private let configuration: KMSServiceConfiguration
    private let credentials: Credentials
    private let network: NetworkWatch
    private let health: HealthRegistry
    private let lookups = Lookups()

    /// Names that were looked up on the way, with what came of it.
    private final class Lookups: Sendable {
        private let state = Mutex<(done: [String: Duration], failed: Set<String>)>(([:], []))

        func note(_ host: String, _ time: Duration, _ failed: Bool) {
            state.withLock { state in
                state.done[host] = max(time, state.done[host] ?? .zero)
                if failed { state.failed.insert(host) } else { state.failed.remove(host) }
            }
        }

        var check: DoctorCheck {
            let (done, failed) = state.withLock { $0 }
            guard failed.isEmpty else {
                return DoctorCheck(
                    "dns", .fail, "not found: \(failed.sorted().joined(separator: ", "))",
                    fix: "check the names in the configuration and the name servers of this machine: getent ahosts HOST"
                )
            }
            let slow = done.filter { $0.value >= WebRoute.slowLookup }.keys.sorted()
            guard slow.isEmpty else {
                return DoctorCheck(
                    "dns", .warn, "slow for \(slow.joined(separator: ", "))",
                    fix: "check the name servers of this machine: resolvectl query HOST, or getent ahosts HOST")
            }
            let times = done.sorted { $0.key < $1.key }.map { "\($0.key) in \(Int($0.value / .milliseconds(1))) ms" }
            return DoctorCheck(
                "dns", .pass, times.isEmpty ? "no name is looked up here" : times.joined(separator: ", "))
        }
    }

    init(_ configuration: KMSServiceConfiguration, _ credentials: Credentials, _ health: HealthRegistry) {
        (self.configuration, self.credentials, self.health) = (configuration, credentials, health)
        network = NetworkWatch(health)
    }

    func checks(now: Timestamp) async -> [DoctorCheck] {
        let proxy: WebProxy?
        do {
            proxy = try configuration.proxy?.proxy(credentials)
        } catch {
            // Nothing goes around a proxy, the doctor neither.
            return [
                DoctorCheck("proxy", .warn, error),
                DoctorCheck(
                    "core", .warn, "not tried: this user can not open the proxy's password",
                    fix: "hdsctl doctor as root"),
            ]
        }
        network.use(proxy)
        let route = WebRoute(proxy: proxy) { [lookups, network] report in
            if case .lookup(let host, let time, let failed) = report { lookups.note(host, time, failed) }
            network.take(report)
        }
        var readings: [Reading] = []
        let (token, authorization) = await authorization(route, now: now)
        let core = await core(route, token: token, &readings, now: now)
        let issuers = await issuers(route, &readings, now: now)
        var checks = [lookups.check]
        checks += health.report.checks.filter { $0.check.id == "proxy" }.compactMap { DoctorCheck($0) }
        return checks + core + authorization + issuers + [clock(readings)]
    }

    // MARK: Core

    /// TLS with its pins and authorities, then the upgrade to a WebSocket: with a token where one was had, which a device
    /// on the way that takes the upgrade away does not survive.
    private func core(
        _ route: WebRoute, token: String?, _ readings: inout [Reading], now: Timestamp
    ) async -> [DoctorCheck] {
        let section = configuration.core
        let address = section.link
        let trust: TLSTrust
        let pins: [SPKIPin]
        do {
            pins = try section.spkiPins()
            trust = TLSTrust(
                roots: try section.authorities.certificates(), pins: pins, requirePathLengthZero: true,
                inspection: try section.inspection?.exception(now: now))
        } catch {
            return [DoctorCheck("core", error)]
        }
        let client = WebClient(trust: trust, route: route)
        var checks: [DoctorCheck] = []
        var session: TLSSession?
        do {
            let socket = try await client.webSocket(
                address.text, headers: token.map { [("Authorization", "Bearer \($0)")] } ?? [])
            session = socket.tls
            await socket.close()
            checks.append(DoctorCheck("core", .pass, "\(address) opens a WebSocket"))
        } catch let error as DiagnosedError where error.code == .webSocketUnauthorized && token == nil {
            checks.append(
                DoctorCheck("core", .pass, "\(address) answers and asks for a token; none was at hand to go on with"))
        } catch let error as DiagnosedError where error.code == .webSocketRefused {
            checks.append(
                DoctorCheck(
                    "core", .fail, "\(address) does not become a WebSocket: \(error.found ?? error.summary)",
                    fix:
                        "compare core.link with what the core's operator says; a proxy or a device on the way has to pass "
                        + "WebSockets inside of TLS, without a limit on the time"))
        } catch {
            checks.append(DoctorCheck("core", error))
            if let seen = error as? DiagnosedError { checks += identity(seen) }
            await client.close()
            return checks
        }
        checks.append(contentsOf: [DoctorCheck("pins", PinFinding.of(pins, session))].compactMap { $0 })
        checks.append(inspection(session, trust))
        if let reading = await reading(client, "https://\(NetworkAddress(host: address.host, port: address.port))/") {
            readings.append(reading)
        }
        await client.close()
        return checks
    }

    /// Somebody else answers than the core.
    private func identity(_ error: DiagnosedError) -> [DoctorCheck] {
        guard error.code.isIdentityFault else { return [] }
        if error.code == .tlsPinMismatch { return [DoctorCheck("pins", error)] }
        if error.code == .tlsUntrusted || error.code == .tlsInspectionOver {
            return [DoctorCheck("tls-inspection", error)]
        }
        return []
    }

    private func inspection(_ session: TLSSession?, _ trust: TLSTrust) -> DoctorCheck {
        if let seen = session?.inspection {
            return DoctorCheck(
                "tls-inspection", .warn, "\(seen.name) opens the TLS to the core, let until \(seen.until.iso8601)",
                fix: "let the device pass the link without inspection and remove core.inspection")
        }
        if let exception = trust.inspection {
            return DoctorCheck(
                "tls-inspection", .warn, "\(exception.name) may open the TLS to the core, and did not now",
                fix: "remove core.inspection when the device lets the link pass")
        }
        return DoctorCheck("tls-inspection", .pass, "nobody between opens the TLS to the core")
    }

    // MARK: Authorization service

    /// A token for the link, by the service's own account.
    private func authorization(_ route: WebRoute, now: Timestamp) async -> (String?, [DoctorCheck]) {
        let account = configuration.authorization.service
        let material: LinkMaterial
        do {
            material = try LinkMaterial(configuration, credentials, network, now: now)
        } catch let error as DiagnosedError where error.code == .credentialMissing {
            return (
                nil,
                [
                    DoctorCheck(
                        "authorization", .pass,
                        "no token was asked for: the client secret is not handed to this process")
                ]
            )
        } catch {
            return (nil, [DoctorCheck("authorization", error)])
        }
        do {
            let token = try await material.tokens.token()
            return (
                token,
                [DoctorCheck("authorization", .pass, "\(account.tokenEndpoint) gives \(account.clientID) a token")]
            )
        } catch {
            return (nil, [DoctorCheck("authorization", error)])
        }
    }

    private func issuers(_ route: WebRoute, _ readings: inout [Reading], now: Timestamp) async -> [DoctorCheck] {
        var checks: [DoctorCheck] = []
        for issuer in configuration.authorization.issuers {
            let id = "issuer \(issuer.issuer)"
            do {
                let client = WebClient(trust: TLSTrust(roots: try issuer.authorities.certificates()), route: route)
                for address in [issuer.keySet, issuer.revocations].compactMap({ $0 }) {
                    let response = try await client.send(WebRequest(url: address.text, timeout: .seconds(10)))
                    guard response.status == 200 else {
                        throw DiagnosedError(
                            "issuer", fault: .peer, "\(address) gives nothing", expected: "status 200",
                            found: "status \(response.status)",
                            hint: "compare authorization.issuers with what the issuer publishes")
                    }
                }
                checks.append(
                    DoctorCheck(id, .pass, "gives its keys" + (issuer.revocations == nil ? "" : " and revocations")))
                if let reading = await reading(client, issuer.keySet?.text) { readings.append(reading) }
                if let clients = await asClientsSee(client, issuer.issuer, now: now) { checks.append(clients) }
                await client.close()
            } catch {
                checks.append(DoctorCheck(id, error))
            }
        }
        return checks
    }

    /// The certificate of the static key as clients judge it that learn of the domain from this issuer; nil where it tells
    /// of no domain.
    private func asClientsSee(_ client: WebClient, _ issuer: String, now: Timestamp) async -> DoctorCheck? {
        let id = "certificate-clients"
        guard issuer.hasPrefix("https://"),
            let response = try? await client.send(
                WebRequest(url: issuer + "/.well-known/hds-domain", timeout: .seconds(10))), response.status == 200,
            let domain = try? JSONDocument(response.body).root, let texts = domain["kmsRoots"]?.strings
        else { return nil }
        let cluster = domain["kmsCluster"]?.string ?? "none"
        guard cluster == "kms://\(configuration.host)" else {
            return DoctorCheck(
                id, .fail, "\(issuer) names \(cluster) as the KMS, this one is kms://\(configuration.host)",
                fix: "correct domain.kms of hds-auth, or host of hds-kms")
        }
        do {
            let roots = try texts.flatMap { try Certificate.all(inPEM: $0) }
            let chain = try configuration.staticKey.certificate.certificates()
            let path = try CertificatePath.validate(
                leaf: chain[0], intermediates: Array(chain.dropFirst()), roots: roots, at: now, purpose: .kms)
            return DoctorCheck(
                id, .pass, "leads to \(path.last?.subjectText ?? "a root"), which \(issuer) tells clients to believe")
        } catch {
            let check = DoctorCheck(id, error)
            return DoctorCheck(
                id, .fail, check.detail,
                fix: "put the root of the static key's certificate into domain.kms-roots of hds-auth, and every "
                    + "intermediate certificate into the file of the static key's")
        }
    }

    // MARK: Clocks

    private func reading(_ client: WebClient, _ url: String?) async -> Reading? {
        guard let url, let host = WebAddress(configurationText: url, folder: "/")?.host else { return nil }
        let before = Timestamp.now()
        guard let response = try? await client.send(WebRequest(url: url, timeout: .seconds(10))),
            let there = response.header("date").flatMap({ HTTPDate.parse($0) })
        else { return nil }
        let here = (before.milliseconds + Timestamp.now().milliseconds) / 2
        // The header has whole seconds, and servers make it once a second.
        let ahead = there.milliseconds - here
        return Reading(host: host, milliseconds: (-2000...1000).contains(ahead) ? 0 : ahead)
    }

    private func clock(_ readings: [Reading]) -> DoctorCheck {
        guard let worst = readings.max(by: { $0.milliseconds.magnitude < $1.milliseconds.magnitude }) else {
            return DoctorCheck(
                "clock", .warn, "nobody could be asked what time it is", fix: "see the checks of core and issuers")
        }
        let finding = LinkSteadiness.finding(clockOffset: worst.milliseconds, of: Loggable(reviewed: worst.host))
        // Above what tokens are let off with nothing works.
        guard worst.milliseconds.magnitude > UInt64(LinkSteadiness.grossSkew) else {
            return DoctorCheck("clock", finding) ?? DoctorCheck("clock", .pass, finding.detail.text)
        }
        return DoctorCheck("clock", .fail, finding.detail.text, fix: finding.fix?.text)
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`: the one form in which dates are sent (RFC 9110, section 5.6.7).
enum HTTPDate {
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    static func parse(_ text: String) -> Timestamp? {
        let words = text.split(separator: " ")
        guard words.count == 6, words[5] == "GMT", words[1].utf8.count == 2, words[3].utf8.count == 4,
            let month = months.firstIndex(of: String(words[2]))
        else { return nil }
        let number = month + 1 < 10 ? "0\(month + 1)" : "\(month + 1)"
        return Timestamp(iso8601: "\(words[3])-\(number)-\(words[1])T\(words[4])Z")
    }
}
