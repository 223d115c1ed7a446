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
        for section in directory.ldap {
            var settings = DirectorySync.Settings()
            settings.every = section.every
            settings.limit = .init(share: directory.leavers.share, least: directory.leavers.least)
            let alarms = DirectoryAlarms(context.alarms)
            people.syncs.append(
                DirectorySync(
                    LDAPSource(try section.settings(context.credentials)), service, settings,
                    observer: { alarms.judge($0, $1, now: .now()) }))
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

/// Raises and clears what a round at a directory shows.
struct DirectoryAlarms: Sendable {
    private let alarms: AlarmBoard
    /// Longer than this without a look, and a leaver is not cut off within a minute.
    private static let longest: Int64 = 60
    private let started = Timestamp.now()

    init(_ alarms: AlarmBoard) { self.alarms = alarms }

    func judge(_ source: String, _ standing: DirectorySync.Standing, now: Timestamp) {
        let about = Loggable(reviewed: source)
        if let trouble = standing.trouble {
            let since = standing.seen ?? started
            if now > since.adding(seconds: Self.longest) {
                alarms.raise(.directoryUnreachable, about: about, "\(about): \(Loggable(trouble))")
            }
        } else {
            alarms.clear(.directoryUnreachable, about: about, "\(about) was read")
        }
        if standing.waiting.isEmpty {
            if standing.trouble == nil { alarms.clear(.directoryLeavers, about: about, "nobody waits") }
        } else {
            alarms.raise(
                .directoryLeavers, about: about,
                "\(about): \(standing.waiting.count) people are gone, \(standing.people) are there")
        }
    }
}
