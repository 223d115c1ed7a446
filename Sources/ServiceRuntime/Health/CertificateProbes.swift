package import Cryptography
package import Diagnostics
package import WireText

// Certificates of a service, each with its alarms: the one in use by its end, the one on the disk by what it says.
extension HealthRegistry {
    /// What a reload has looked at anew.
    static let certificateChecks: Set<String> = ["certificate", "certificate-file"]

    /// The certificate in use: HDS-CERT-EXPIRY. Its file, which a reload or a start would take: HDS-CERT-DOMAIN where it is
    /// not for `host`, HDS-CERT-CHAIN where it can not be read or is out of order.
    ///
    /// - Parameters:
    ///   - title: of the certificate; it stands in the alarms as their subject.
    ///   - isFor: whether a certificate is for `host`; nil: as clients of HTTPS judge.
    package func watchCertificates(
        _ title: String, host: String, file: @escaping @Sendable () -> FileLocation, fix: Loggable,
        every interval: Duration = .seconds(600), now: @escaping @Sendable () -> Timestamp = { Timestamp.now() },
        isFor: @escaping @Sendable (Certificate, String) -> Bool = { $0.isValid(forHost: $1) },
        expires: @escaping @Sendable () -> Timestamp
    ) {
        watchCertificate("certificate", title, fix: fix, every: interval, now: now, expires: expires)
        let alarms = alarms
        let subject = Loggable(reviewed: title)
        probe(HealthCheck("certificate-file", "the file of \(title)"), every: interval) {
            let file = file()
            let chain: [Certificate]
            do {
                chain = try file.certificates()
            } catch {
                alarms.raise(.certificateChain, about: subject, Loggable(error: error))
                return .warn(Loggable(error: error), fix: Loggable(reviewed: Alarm.certificateChain.fix))
            }
            let wrongName = Self.name(chain[0], host, isFor)
            if let wrongName {
                alarms.raise(.certificateDomain, about: subject, wrongName)
            } else {
                alarms.clear(.certificateDomain, about: subject, "\(subject) is for \(reviewed: host)")
            }
            let trouble = CertificateChainRules.trouble(chain, now: now()).map {
                Loggable(reviewed: "\(file): expected \($0.expected), found \($0.found)")
            }
            if let trouble {
                alarms.raise(.certificateChain, about: subject, trouble)
            } else {
                alarms.clear(
                    .certificateChain, about: subject, "the certificates in \(reviewed: file.path) are in order")
            }
            if let found = trouble ?? wrongName {
                let alarm = trouble == nil ? Alarm.certificateDomain : .certificateChain
                return .warn(found, fix: Loggable(reviewed: alarm.fix))
            }
            return .ok("for \(reviewed: host), and in order")
        }
    }

    private static func name(
        _ leaf: Certificate, _ host: String, _ isFor: (Certificate, String) -> Bool
    ) -> Loggable? {
        guard !isFor(leaf, host) else { return nil }
        let names = leaf.dnsNames.isEmpty ? leaf.commonName ?? "no name" : leaf.dnsNames.joined(separator: ", ")
        return "needed is \(reviewed: host), the certificate has \(reviewed: names)"
    }
}
