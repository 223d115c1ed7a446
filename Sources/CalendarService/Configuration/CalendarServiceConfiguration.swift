import CalendarSync
package import DatabaseConfiguration
package import LinkedService
package import ServiceRuntime

/// The configuration of `hds-calendar`: one YAML file, every key documented in config/hds-calendar.yaml.
package struct CalendarServiceConfiguration: KMSLinkedConfiguration {
    package static let kind = "calendar"
    package static let accountPlace = "service-account"

    package let runtime: RuntimeSection
    package let node: String
    package let organisation: String
    package let core: CoreSection
    package let proxy: ProxySection?
    package let account: ServiceAccountSection
    package let kms: PinnedKMSSection
    package let store: CalendarStoreSection
    package let users: FileLocation
    package let backends: [BackendSection]
    package let meetings: MeetingsSection
    package let rounds: RoundsSection
    package let control: CalendarControlSection?

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case runtime, node, organisation, core, proxy
        case account = "service-account"
        case kms, store, users, backends, meetings, rounds, control
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        runtime = try section.value(.runtime)
        node = try section.value(.node)
        organisation = try section.value(.organisation)
        core = try section.value(.core)
        proxy = try section.optional(.proxy)
        account = try section.value(.account)
        kms = try section.value(.kms)
        store = try section.value(.store)
        users = try section.value(.users)
        backends = try section.value(.backends)
        meetings = try section.value(.meetings)
        rounds = try section.optional(.rounds) ?? RoundsSection()
        control = try section.optional(.control)
        guard !node.isEmpty, node.utf8.count <= 64 else { throw section.problem(.node, "expected 1 to 64 characters") }
        guard !backends.isEmpty, Set(backends.map(\.id)).count == backends.count else {
            throw section.problem(.backends, "expected at least one, each with an id of its own")
        }
    }
}

/// Where the connector keeps what it knows.
package struct CalendarStoreSection: Decodable, Sendable {
    package enum Backend: Sendable {
        case sqlite(FileLocation)
        case postgresql(PostgreSQLSection)
    }

    package let backend: Backend

    package enum CodingKeys: String, CodingKey, CaseIterable { case file, postgresql }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        let file: FileLocation? = try section.optional(.file)
        let postgresql: PostgreSQLSection? = try section.optional(.postgresql)
        switch (file, postgresql) {
        case (let file?, nil): backend = .sqlite(file)
        case (nil, let section?): backend = .postgresql(section)
        default: throw section.problem(.file, "expected one of file and postgresql")
        }
    }
}

/// What is a meeting that asks for something, and what is written into it.
package struct MeetingsSection: Decodable, Sendable {
    package struct Keyword: Decodable, Sendable {
        package enum Action: String, NamedValue, Sendable {
            case space
            case personalRoom = "personal-room"
        }

        package let word: String
        package let action: Action

        package enum CodingKeys: String, CodingKey, CaseIterable { case word, action }

        package init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            word = try section.value(.word)
            action = try section.value(.action)
            guard word.hasPrefix("@"), word.utf8.count >= 2, word.utf8.count <= 64, !word.contains(" ") else {
                throw section.problem(.word, "expected a word that begins with @, such as @meet")
            }
        }
    }

    package let keywords: [Keyword]
    /// Addresses of these hosts in an invitation ask for details as well.
    package let videoHosts: [String]
    /// The only hosts that join details may lead to (security model, rule 33).
    package let joinHosts: [String]
    package let pastDays: Int
    package let futureDays: Int
    package let languages: [String]
    package let timeZone: String
    package let header: String?
    package let footer: String?
    /// Minutes before a meeting for which the user has set no alarm; 0: none is told.
    package let reminder: Int

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case keywords
        case videoHosts = "video-hosts"
        case joinHosts = "join-hosts"
        case pastDays = "past-days"
        case futureDays = "future-days"
        case languages
        case timeZone = "time-zone"
        case header, footer, reminder
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        keywords = try section.optional(.keywords) ?? []
        videoHosts = try section.value(.videoHosts, default: [])
        joinHosts = try section.value(.joinHosts)
        pastDays = try section.value(.pastDays, default: 1, in: 0...400)
        futureDays = try section.value(.futureDays, default: 7, in: 1...400)
        languages = try section.value(.languages, default: ["en"])
        timeZone = try section.value(.timeZone, default: "UTC")
        header = try section.optional(.header)
        footer = try section.optional(.footer)
        reminder = try section.value(.reminder, default: 5, in: 0...1440)
        guard !joinHosts.isEmpty else {
            throw section.problem(.joinHosts, "expected at least one host, such as meet.example.com")
        }
        guard (header ?? "").utf8.count + (footer ?? "").utf8.count <= 8192 else {
            throw section.problem(.footer, "header and footer have at most 8192 octets together")
        }
    }

    var words: Keywords {
        var actions: [String: Trigger.Action] = [:]
        for keyword in keywords { actions[keyword.word] = keyword.action == .space ? .space : .personalRoom }
        return actions.isEmpty ? Keywords(videoHosts: videoHosts) : Keywords(actions, videoHosts: videoHosts)
    }
}

/// How often calendars are looked at.
package struct RoundsSection: Decodable, Sendable {
    package let interval: Duration
    /// The same, for two minutes after a change: one change seldom comes alone.
    package let quickInterval: Duration
    package let concurrent: Int
    /// All ETags of a calendar are compared so often.
    package let audit: Duration
    /// The versions of a few objects of a calendar are compared so often.
    package let sample: Duration
    /// What one user's calendars may hold.
    package let mostObjects: Int
    package let mostMebibytes: Int
    /// A round that takes longer is ended.
    package let longest: Duration

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case interval
        case quickInterval = "quick-interval"
        case concurrent, audit, sample
        case mostObjects = "most-objects"
        case mostMebibytes = "most-mebibytes"
        case longest
    }

    package init() {
        (interval, quickInterval, concurrent, audit) = (.seconds(30), .seconds(5), 16, .seconds(86_400))
        sample = .seconds(600)
        (mostObjects, mostMebibytes, longest) = (50_000, 64, .seconds(1800))
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        let standard = RoundsSection()
        interval = try section.value(
            .interval, default: standard.interval, in: .seconds(1) ... .seconds(3600))
        quickInterval = try section.value(
            .quickInterval, default: min(interval, standard.quickInterval), in: .seconds(1) ... .seconds(3600))
        sample = try section.value(.sample, default: standard.sample, in: .seconds(1) ... .seconds(86_400))
        mostObjects = try section.value(.mostObjects, default: standard.mostObjects, in: 1...1_000_000)
        mostMebibytes = try section.value(.mostMebibytes, default: standard.mostMebibytes, in: 1...16_384)
        longest = try section.value(.longest, default: standard.longest, in: .seconds(10) ... .seconds(86_400))
        concurrent = try section.value(.concurrent, default: standard.concurrent, in: 1...256)
        audit = try section.value(
            .audit, default: standard.audit, in: .seconds(10) ... .seconds(30 * 86_400))
    }
}

/// Where the operators' tool talks to the connector.
package struct CalendarControlSection: Decodable, Sendable {
    package let socket: FileLocation

    package enum CodingKeys: String, CodingKey, CaseIterable { case socket }

    package init(from decoder: any Decoder) throws {
        socket = try decoder.container(keyedBy: CodingKeys.self).value(.socket)
    }
}
