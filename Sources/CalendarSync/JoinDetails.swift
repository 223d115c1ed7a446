/// How to join a meeting.
package struct JoinDetails: Sendable, Hashable {
    package let url: String
    package let sip: String?
    package let phone: String?
    package let pin: String?
    package let spaceTitle: String?

    package init(url: String, sip: String? = nil, phone: String? = nil, pin: String? = nil, spaceTitle: String? = nil) {
        self.url = url
        self.sip = sip
        self.phone = phone
        self.pin = pin
        self.spaceTitle = spaceTitle
    }
}

/// The text that join details have in a DESCRIPTION: in the language of the organizer, with the header and footer that
/// the administrator set.
package struct JoinTemplate: Sendable, Hashable {
    private struct Words: Sendable, Hashable { let join, space, video, phone, pin: String }

    private let words: Words
    private let header: String?
    private let footer: String?

    /// - Parameters:
    ///   - languages: the most wanted first, such as `de-AT`; English when none of them is known.
    package init(languages: [String], header: String? = nil, footer: String? = nil) {
        let known = languages.lazy.compactMap { Self.words[String($0.lowercased().prefix { $0 != "-" && $0 != "_" })] }
        words = known.first ?? Self.english
        self.header = header
        self.footer = footer
    }

    package static var languages: [String] { words.keys.sorted() }

    package func text(_ details: JoinDetails) -> String {
        var lines: [String] = []
        if let header { lines += [header, ""] }
        lines.append("\(words.join): \(details.url)")
        if let title = details.spaceTitle { lines.append("\(words.space): \(title)") }
        if let sip = details.sip { lines.append("\(words.video): \(sip)") }
        if let phone = details.phone { lines.append("\(words.phone): \(phone)") }
        if let pin = details.pin { lines.append("\(words.pin): \(pin)") }
        if let footer { lines += ["", footer] }
        return lines.joined(separator: "\n")
    }

    private static let english = Words(
        join: "Join the meeting", space: "Space", video: "Video system", phone: "Phone", pin: "PIN")

    private static let words: [String: Words] = [
        "en": english,
        "de": Words(
            join: "An der Besprechung teilnehmen", space: "Raum", video: "Videosystem", phone: "Telefon", pin: "PIN"),
        "fr": Words(
            join: "Rejoindre la réunion", space: "Espace", video: "Système vidéo", phone: "Téléphone", pin: "Code PIN"),
        "es": Words(
            join: "Unirse a la reunión", space: "Espacio", video: "Sistema de vídeo", phone: "Teléfono", pin: "PIN"),
        "it": Words(
            join: "Partecipa alla riunione", space: "Spazio", video: "Sistema video", phone: "Telefono", pin: "PIN"),
        "ja": Words(join: "会議に参加", space: "スペース", video: "ビデオシステム", phone: "電話", pin: "PIN"),
    ]
}

/// What is to stand in an event: these details, or none.
package struct JoinEdit: Sendable, Hashable {
    package let uid: String
    /// Of a single occurrence; nil for the whole event or series.
    package let recurrenceID: String?
    /// `Meeting.id` of what it belongs to: of the series, or of the occurrence.
    package let meetingID: String
    /// Nil takes the details out.
    package let details: JoinDetails?
    package let template: JoinTemplate
    /// By which our own writing is known again.
    package let revision: String

    package init(
        uid: String, recurrenceID: String? = nil, meetingID: String, details: JoinDetails?, template: JoinTemplate,
        revision: String
    ) {
        self.uid = uid
        self.recurrenceID = recurrenceID
        self.meetingID = meetingID
        self.details = details
        self.template = template
        self.revision = revision
    }
}
