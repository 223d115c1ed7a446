import Diagnostics
import DirectoryModel
import LDAPDirectory
import SCIMServer
import ServiceRuntime
import TokenIssuer
import WireText

/// What this service knows people from, beside the accounts file.
struct People: Sendable {
    var syncs: [DirectorySync] = []
    var scim: SCIMServer?
}

extension AuthConfiguration {
    func people(_ service: AuthorizationService, _ context: ServiceContext) throws -> People {
        var people = People()
        guard let directory else { return people }
        let (alarms, started) = (context.alarms, Timestamp.now())
        for section in directory.ldap {
            var settings = DirectorySync.Settings()
            settings.every = section.every
            settings.limit = .init(share: directory.leavers.share, least: directory.leavers.least)
            people.syncs.append(
                DirectorySync(LDAPSource(try section.settings(context.credentials)), service, settings) {
                    source, standing in
                    for finding in standing.findings(of: source, since: started, now: .now()) {
                        let about = Loggable(reviewed: source)
                        if finding.isRaised {
                            alarms.raise(finding.alarm, about: about, finding.detail)
                        } else {
                            alarms.clear(finding.alarm, about: about, finding.detail)
                        }
                    }
                })
        }
        people.scim = try directory.scim.map { section in
            try SCIMServer(
                store: service.directory, token: try context.credentials.text(of: section.token), base: issuer,
                known: { service.accounts.ofFile.user(email: $0)?.id },
                desk: { try await service.take($0, of: SCIMServer.source, writing: $1) })
        }
        return people
    }
}
