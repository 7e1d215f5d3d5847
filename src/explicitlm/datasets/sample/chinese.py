"""The Chinese part of the world, a small one: enough that the byte-level BPE has to cope with it."""

from __future__ import annotations

from explicitlm.datasets.sample.language import Language, Predicate, words

PERSON = (
    Predicate(
        "出生地",
        "town",
        ("{s}出生在{o}。", "{p}出生地是{o}。", "{o}是{s}的出生地。"),
        ("{s}出生在哪里？", "{o}。"),
    ),
    Predicate(
        "住处",
        "town",
        ("{s}住在{o}。", "{p}家在{o}。", "{s}在{o}有一座小院。"),
        ("{s}住在哪里？", "{o}。"),
        changes=True,
    ),
    Predicate(
        "老师",
        "person",
        ("{p}老师是{o}。", "{s}跟{o}学手艺。", "{o}教过{s}。"),
        ("谁是{s}的老师？", "{o}。"),
    ),
    Predicate(
        "好友",
        "person",
        ("{p}好友是{o}。", "{s}最信任{o}。", "{o}是{s}的好友。"),
        ("谁是{s}的好友？", "{o}。"),
    ),
    Predicate(
        "职业",
        "profession",
        ("{p}职业是{o}。", "{s}以{o}为业。", "{s}是一位{o}。"),
        ("{s}做什么工作？", "{o}。"),
        changes=True,
    ),
    Predicate(
        "宠物",
        "pet",
        ("{s}养了一只{o}。", "{p}宠物是{o}。", "{s}家里有一只{o}。"),
        ("{s}养了什么？", "一只{o}。"),
        changes=True,
    ),
    Predicate(
        "食物",
        "food",
        ("{s}爱吃{o}。", "{s}最喜欢的食物是{o}。", "{s}每天都想吃{o}。"),
        ("{s}爱吃什么？", "{o}。"),
    ),
    Predicate(
        "乐器",
        "instrument",
        ("{s}会弹{o}。", "{s}每晚都弹{o}。", "{p}乐器是{o}。"),
        ("{s}会弹什么？", "{o}。"),
    ),
)

POOLS = {
    "town": words("云溪 青石 柳河 白沙 月湾 松岭 竹桥 梅山 枫林 海宁"),
    "profession": words("医生 木匠 厨师 教师 船夫 裁缝 画家 花匠 铁匠 邮差"),
    "pet": words("猫 狗 兔子 乌龟 鹦鹉 金鱼 鸭子 山羊"),
    "food": words("饺子 米粉 豆腐 烤鱼 春卷 汤圆 莲藕 年糕 馄饨 包子"),
    "instrument": words("古琴 琵琶 古筝 钢琴 吉他 月琴"),
}

CHINESE = Language(
    person=PERSON,
    town=(),
    firm=(),
    pools=POOLS,
    openings=("大家都知道，", "听说"),
    gap="",
)

SURNAMES = words("林 陈 苏 沈 叶 周 许 江")
GIVEN = words("若溪 思远 明月 清和 雨桐 子墨 安 宁 晨 岚")
