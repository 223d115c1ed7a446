import EDiscoveryModel
import WireText

/// One form in which items are written. Called in order: for each space that has items `begin`, its items, `end`; at last
/// `finish`.
protocol ExportWriter: AnyObject {
    func begin(_ space: SpacePlace) throws
    func add(_ entry: ExportEntry) throws
    func end(_ space: SpacePlace) throws
    func finish() throws
}

extension ExportWriter {
    func begin(_ space: SpacePlace) throws {}
    func end(_ space: SpacePlace) throws {}
    func finish() throws {}
}

/// A space and the name of its files in the package.
struct SpacePlace: Sendable {
    /// Numbers of spaces and of pages have six digits, so that they sort.
    static let limit = 999_999

    let space: CollectedSpace
    /// From 1, in the order of the report's spaces.
    let ordinal: Int
    let title: String
    let stem: String

    init(_ space: CollectedSpace, ordinal: Int) {
        self.space = space
        self.ordinal = ordinal
        title = ExportName.visible(space.shownTitle)
        let digits = String(ordinal)
        stem =
            String(repeating: "0", count: max(0, 6 - digits.utf8.count)) + digits + "-"
            + ExportName.slug(space.shownTitle)
    }
}

/// An item with all that the forms say of it, made once.
struct ExportEntry: Sendable {
    let exported: ExportedItem
    let space: SpacePlace
    /// Below `data/`; nil where the form was not asked for or the item is no message.
    let mailPath: String?
    let textPath: String?
    /// People as the tables of people name them, divided by semicolons; empty where no table was asked for.
    let custodianList: String
    let participantList: String
    /// To whom a message went: who was in the space, without its author.
    let recipientList: String

    var item: CollectedItem { exported.item }

    init(_ exported: ExportedItem, index: Int64, space: SpacePlace, settings: ExportSettings) {
        self.exported = exported
        self.space = space
        let folder = settings.numbering.folder(index)
        mailPath =
            settings.formats.contains(.eml) && exported.isMessage ? "eml/\(folder)/\(exported.number).eml" : nil
        textPath = settings.hasTexts ? "text/\(folder)/\(exported.number).txt" : nil
        guard settings.hasTexts || settings.formats.contains(.csv) else {
            (custodianList, participantList, recipientList) = ("", "", "")
            return
        }
        let item = exported.item
        let described = item.participants.map(\.described)
        custodianList = Self.list(Self.custodians(item))
        participantList = Self.list(described)
        recipientList = Self.list(
            zip(item.participants, described).filter { $0.0.id != item.author.id }.map(\.1))
    }

    /// The subjects through whom it was found, by what is known of them here.
    var custodians: [String] { Self.custodians(item) }

    private static func custodians(_ item: CollectedItem) -> [String] {
        item.custodians.map { id in
            let person = item.author.id == id ? item.author : item.participants.first { $0.id == id }
            return person?.described ?? ExportName.visible(id)
        }
    }

    /// One text of several, divided by semicolons, which therefore no part has.
    static func list(_ parts: [String]) -> String {
        parts.map { $0.contains(";") ? $0.replacing(";", with: ",") : $0 }.joined(separator: "; ")
    }

    /// To whom a message went: who was in the space, without its author.
    var recipients: [Person] { item.participants.filter { $0.id != item.author.id } }
}

extension ExportSettings {
    /// Load files refer to files of text.
    var hasTexts: Bool { formats.contains(.dat) || formats.contains(.edrm) }
}

/// Finds the spaces of items in a stream of spaces, and writes each down as it goes by.
struct SpaceCursor {
    private let file: PackageFile
    private let next: () async throws -> CollectedSpace?
    private var last: String?
    private var ordinal = 0

    init(file: PackageFile, next: @escaping () async throws -> CollectedSpace?) {
        self.file = file
        self.next = next
    }

    mutating func find(_ id: String) async throws -> SpacePlace {
        while let place = try await step() {
            if place.space.id == id { return place }
            guard place.space.id < id else { break }
        }
        throw DiagnosedOrder.unknownSpace
    }

    mutating func finish() async throws {
        while try await step() != nil {}
        try file.close()
    }

    private mutating func step() async throws -> SpacePlace? {
        guard let space = try await next() else { return nil }
        if let last, last >= space.id { throw DiagnosedOrder.spaces }
        last = space.id
        ordinal += 1
        guard ordinal <= SpacePlace.limit else { throw DiagnosedOrder.tooMany }
        let place = SpacePlace(space, ordinal: ordinal)
        try file.write(SpaceLine.encode(place))
        return place
    }
}
