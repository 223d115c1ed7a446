import Diagnostics
import LinkProtocol
import WireText

/// The calendar service of the core: takes what calendar connectors tell, as calls on their links, each for the users of its
/// link's organisation and no other; keeps it, and pushes what changed to the devices of the user.
///
/// Any thread. A call is applied in its order and as a whole, and is on the disk when its reply goes.
struct CalendarService: Sendable {
    static let destination = "calendar://core"
    /// The kind of service whose calls it takes.
    static let kind = "calendar"
    static let maximumEvents = 1_000

    let store: CloudStore
    let events: EventHub
    let wall: @Sendable () -> Timestamp

    /// What has to be pushed, and to whom.
    enum Notice: Equatable, Sendable {
        case created(UserKey, meeting: String)
        case updated(UserKey, meeting: String)
        case deleted(UserKey, meeting: String, reason: String)
        case absence(UserKey, json: String?)
        case status(UserKey, CalendarNews.ConnectorStatus)
        case reminder(UserKey, meeting: String, start: Timestamp)
    }

    /// - Parameters:
    ///   - organisation: of the link's token.
    ///   - cluster: the organisation's KMS.
    func reply(to call: [UInt8], of organisation: String, cluster: String) async -> [UInt8] {
        do {
            for notice in try await take(call, organisation, cluster) { push(notice) }
            return CallAnswer.json(200, nil)
        } catch let refusal as Refusal {
            return CallAnswer.json(refusal.status.rawValue, refusal.message)
        } catch {
            return CallAnswer.json(503, "the core's database does not answer")
        }
    }

    private func take(_ call: [UInt8], _ organisation: String, _ cluster: String) async throws -> [Notice] {
        let root: JSONNode
        do {
            root = try JSONDocument(call, limits: .init(maximumBytes: LinkFrame.maximumStringBytes)).root
        } catch {
            throw Refusal(.badRequest, error.summary)
        }
        guard let nodes = root["events"]?.elements, nodes.count <= Self.maximumEvents else {
            throw Refusal(.badRequest, "events is missing: expected a list of at most \(Self.maximumEvents)")
        }
        var news: [CalendarNews] = []
        for (place, node) in nodes.enumerated() {
            do {
                news.append(try CalendarNews(node, cluster: cluster))
            } catch {
                throw Refusal(error.status, "event \(place): \(error.message)")
            }
        }
        return try await store.take(news, of: organisation, now: wall())
    }

    /// Users of whom no connector has told for so many seconds are served no more.
    func forgetSilent(for seconds: Int64) async {
        let now = wall()
        let notices = try? await store.forgetSilentCalendars(heardBefore: now.adding(seconds: -seconds), now: now)
        for notice in notices ?? [] { push(notice) }
    }

    /// A change that a user made.
    func push(_ notice: Notice) {
        let (event, user) =
            switch notice {
            case .created(let user, let meeting): (Event.meeting("create", meeting, wall: wall()), user)
            case .updated(let user, let meeting): (Event.meeting("update", meeting, wall: wall()), user)
            case .deleted(let user, let meeting, let reason):
                (Event.meetingDeleted(meeting, reason: reason, wall: wall()), user)
            case .absence(let user, let json): (Event.absence(json, of: user.user, wall: wall()), user)
            case .reminder(let user, let meeting, let start):
                (Event.reminder(of: meeting, start: start, wall: wall()), user)
            case .status(let user, let status): (Event.connectorStatus(status, wall: wall()), user)
            }
        events.push(event, to: [user])
    }
}

extension CalendarNews.ConnectorStatus {
    /// The members, as clients get them.
    func write(to json: inout JSONWriter) {
        json.member("state", state)
        json.member("code", ifPresent: code)
        json.member("since", since.iso8601)
        json.member("calendarKeyUrl", ifPresent: calendarKeyURL)
    }
}
